-- reserve  slot id, tokens, 1 for a call that can wait, how many tenant shares; then for each deployment its tokens and
--          calls a minute and its most calls in flight (0: no slots), for each share its calls and tokens a minute and
--          its calls in flight (0: no limit)
--          -> { 1, index, now, used, unseen, slots in use, calls left, tokens left (of the shares; -1: no limit), moves }
--             for the first deployment with room when every share has room too,
--             else { 0, ms until there is, reason, moves }; a refusal takes nothing of anybody

-- As in shared-admission.ts.
local quotaReason, tenantReason, slotsReason, breakerReason, drainedReason = 1, 2, 3, 4, 5
local anyDrained = call('EXISTS', KEYS[2]) == 1

local function drainedUntil(w)
  local drain = call('HGET', KEYS[2], w.state)
  local till = drain and tonumber(string.match(drain, '^%d+'))
  if not till or (till > 0 and till <= time) then return nil end
  return till > 0 and till or w.now + settings.drainedAsk
end

-- The first moment at which the windows leave room, with `tenths` of the calls of the short ones.
local function windowsFit(w, tokens, tokenLimit, minuteLimit, tenths)
  local at = max(w.cool, tokensFit(w, tokens, tokenLimit, tokenLimit))
  at = max(at, callsFit(w, max(1, floor(ceil(minuteLimit / 60) * tenths / 10)), settings.second))
  at = max(at, callsFit(w, max(1, floor(ceil(minuteLimit / 6) * tenths / 10)), settings.tenSeconds))
  return max(at, callsFit(w, minuteLimit, settings.minute))
end

-- While a deployment recovers its limits grow in steps, so room may come with a step before it comes by itself.
local function recoveringFits(w, tokens, tokenLimit, minuteLimit)
  for step = recoveryStep(w, w.now), 9 do
    local at = max(windowsFit(w, tokens, tokenLimit, minuteLimit, step + 1), recoveryStart(w, step))
    if step == 9 or at < recoveryStart(w, step + 1) then return at end
  end
end

-- The first moment at which a deployment takes the call, and what it waits for; it has come when it is not after w.now.
local function fits(w, tokens, paced, first)
  local tokenLimit, minuteLimit, most = operand(first), operand(first + 1), operand(first + 2)
  local till = anyDrained and drainedUntil(w)
  if till then return till, drainedReason end
  if w.breaker ~= closed then advanceBreaker(w) end
  if w.breaker == opened then return w.gate, breakerReason end
  local at = w.breaker == recovering and recoveringFits(w, tokens, tokenLimit, minuteLimit)
    or windowsFit(w, tokens, tokenLimit, minuteLimit, 10)
  if paced then at = max(at, paceFits(w, tokens, tokenLimit)) end
  if w.breaker == halfOpen and w.gate > at then return w.gate, breakerReason end
  if most > 0 and at <= w.now then
    local limit = limitOf(w, most)
    if w.breaker == recovering then limit = max(1, floor(limit * (recoveryStep(w, w.now) + 1) / 10)) end
    w.used = slotsInUse(w.slots, limit)
    if w.used >= limit then return w.now + slotExpected(w.mean, w.used), slotsReason end
  end
  return at, quotaReason
end

local function shareWait(t, tokens, first)
  local at = tenantFits(t, tokens, operand(first), operand(first + 1))
  local most = operand(first + 2)
  if most > 0 and at <= t.now then
    local used = slotsInUse(t.slots, most)
    if used >= most then at = t.now + slotExpected(t.mean, used) end
  end
  return at <= t.now and 0 or at - time
end

local function left(least, limit, used)
  if limit == 0 then return least end
  local room = max(0, limit - used)
  return least < 0 and room or min(least, room)
end

local function take(w, shares, id, tokens, paced, first)
  if operand(first + 2) > 0 then takeSlot(w.slots, id) end
  add(w, tokens)
  keepPace(w, tokens, operand(first), paced)
  if w.breaker == halfOpen then w.gate = w.now + settings.probeSpacing end
  save(w)
  local callsLeft, tokensLeft = -1, -1
  for _, share in ipairs(shares) do
    local t, calls, perMinute = share.t, operand(share.first), operand(share.first + 1)
    if operand(share.first + 2) > 0 then takeSlot(t.slots, id) end
    if calls + perMinute > 0 then addToTenant(t, tokens) end
    saveTenant(t)
    callsLeft, tokensLeft = left(callsLeft, calls, t.calls), left(tokensLeft, perMinute, t.tokens)
  end
  return { 1, w.index, w.now, w.sum, unseenAt(w, operand(first), w.now), w.used or 0, callsLeft, tokensLeft, moves }
end

local function reserve()
  local id, tokens, paced = ARGV[4], operand(2), ARGV[6] == '1'
  local shares, wait = {}, 0
  for share = 1, operand(4) do
    local t, first = openTenant(deployments + share), 5 + 3 * deployments + 3 * (share - 1)
    shares[share] = { t = t, first = first }
    wait = max(wait, shareWait(t, tokens, first))
  end
  local soonest, reason = never, quotaReason
  for index = 1, deployments do
    local w, first = open(index), 3 * index + 2
    local at, because = fits(w, tokens, paced, first)
    if at <= w.now and wait == 0 then return take(w, shares, id, tokens, paced, first) end
    if w.changed then save(w) end
    at = at <= w.now and 0 or at - time
    if at < soonest then soonest, reason = at, because end
    if soonest <= wait then break end
  end
  -- What left their logs meanwhile is gone from there; so it must be from their sums.
  for _, share in ipairs(shares) do
    if share.t.changed then saveTenant(share.t) end
  end
  if wait >= soonest then return { 0, wait, tenantReason, moves } end
  return { 0, soonest, reason, moves }
end

return reserve()
