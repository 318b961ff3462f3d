-- reserve  for each deployment its tokens and calls a minute and its most calls in flight (0: no slots); how many tenant
--          shares, for each its calls and tokens a minute and its calls in flight (0: no limit); how many routes, for each
--          how many deployments and which, in the order of preference, how many shares and which; then for each call its
--          slot id, tokens, 1 when it can wait, and route. A negative number in the third place asks ahead: for that many
--          calls that are about to come, with those tokens altogether, of the route's first deployment; their slots are
--          `<id>.1` and so on. The calls are decided one after the other, as if each came alone; what they share is read and
--          written once.
--          -> for each call 1, deployment, now, used, unseen, slots in use, calls left, tokens left (of the shares; -1: no
--             limit) for the first deployment with room when every share has room too,
--             else 0, ms until there is, reason, calls left, tokens left, ms until the shares' whole minute is there again (of
--             a share that is full; else zeros), 0, 0; a refusal takes nothing of anybody. Last the moves

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

-- Limits are read when a call of the batch first meets them.
local function deploymentAt(index)
  local w = windowsOf(index)
  if not w.most then
    w.tokenLimit, w.minuteLimit, w.most = operand(3 * index - 2), operand(3 * index - 1), operand(3 * index)
  end
  return w
end

local shareCount = operand(3 * deployments + 1)

local function shareAt(index)
  local t = tenantOf(deployments + index)
  if not t.most then
    local first = 3 * (deployments + index) - 1
    t.callLimit, t.tokenLimit, t.most = operand(first), operand(first + 1), operand(first + 2)
  end
  return t
end

-- Of a deployment or a share. Within the batch only its own calls take slots, so they are counted once while there are some.
local function inUse(of, limit)
  if not of.inUse or of.inUse >= limit then of.inUse = slotsInUse(of.slots, limit) end
  return of.inUse
end

local function take(of, id)
  if of.most == 0 then return end
  takeSlot(of.slots, id)
  of.inUse = of.inUse + 1
end

-- The first moment at which a deployment takes the call, and what it waits for; it has come when it is not after w.now.
local function fits(w, tokens, paced)
  local till = anyDrained and drainedUntil(w)
  if till then return till, drainedReason end
  if w.breaker ~= closed then advanceBreaker(w) end
  if w.breaker == opened then return w.gate, breakerReason end
  local at = w.breaker == recovering and recoveringFits(w, tokens, w.tokenLimit, w.minuteLimit)
    or windowsFit(w, tokens, w.tokenLimit, w.minuteLimit, 10)
  if paced then at = max(at, paceFits(w, tokens, w.tokenLimit)) end
  if w.breaker == halfOpen and w.gate > at then return w.gate, breakerReason end
  if w.most > 0 and at <= w.now then
    local limit = limitOf(w, w.most)
    if w.breaker == recovering then limit = max(1, floor(limit * (recoveryStep(w, w.now) + 1) / 10)) end
    local used = inUse(w, limit)
    if used >= limit then return w.now + slotExpected(w.mean, used), slotsReason end
  end
  return at, quotaReason
end

local function shareWait(t, tokens)
  local at = tenantFits(t, tokens, t.callLimit, t.tokenLimit)
  if t.most > 0 and at <= t.now then
    local used = inUse(t, t.most)
    if used >= t.most then at = t.now + slotExpected(t.mean, used) end
  end
  return at <= t.now and 0 or at - time
end

local function left(least, limit, used)
  if limit == 0 then return least end
  local room = max(0, limit - used)
  return least < 0 and room or min(least, room)
end

local answers = {}

local function answer(...)
  local count = #answers
  for position = 1, 8 do answers[count + position] = select(position, ...) or 0 end
end

local function grant(w, route, id, tokens, paced)
  local slots = w.most > 0 and w.inUse or 0
  take(w, id)
  add(w, tokens)
  keepPace(w, tokens, w.tokenLimit, paced)
  if w.breaker == halfOpen then w.gate = w.now + settings.probeSpacing end
  w.changed = true
  local callsLeft, tokensLeft = -1, -1
  for _, index in ipairs(route.shares) do
    local t = shareAt(index)
    take(t, id)
    if t.callLimit + t.tokenLimit > 0 then addToTenant(t, tokens, 1) end
    t.changed = true
    callsLeft, tokensLeft = left(callsLeft, t.callLimit, t.calls), left(tokensLeft, t.tokenLimit, t.tokens)
  end
  answer(1, w.index, w.now, w.sum, unseenAt(w, w.tokenLimit, w.now), slots, callsLeft, tokensLeft)
end

-- What is reserved ahead is withheld from everybody else, so there must be plenty: with it no limit is more than half used.
local function plenty(used, more, limit) return limit == 0 or used + more <= limit / 2 end

local function fewCalls(w, more, limit, window)
  local most = floor(limit / 2) - more
  return most >= 0 and callsFit(w, most + 1, window) <= w.now
end

local function plentyAt(w, tokens, calls)
  if w.breaker ~= closed or w.cool > w.now or (anyDrained and drainedUntil(w)) then return false end
  return plenty(w.sum + unseenAt(w, w.tokenLimit, w.now), tokens, w.tokenLimit)
    and fewCalls(w, calls, ceil(w.minuteLimit / 60), settings.second)
    and fewCalls(w, calls, ceil(w.minuteLimit / 6), settings.tenSeconds)
    and fewCalls(w, calls, w.minuteLimit, settings.minute)
    and (w.most == 0 or plenty(inUse(w, w.most), calls, limitOf(w, w.most)))
end

local function plentyOf(t, tokens, calls)
  return plenty(t.calls, calls, t.callLimit) and plenty(t.tokens, tokens, t.tokenLimit)
    and (t.most == 0 or plenty(inUse(t, t.most), calls, t.most))
end

local function takeMany(of, id, calls)
  if of.most == 0 then return end
  local lost, members = time + settings.lease, {}
  for one = 1, calls do members[2 * one - 1], members[2 * one] = lost, id .. '.' .. one end
  call('ZADD', of.slots, unpack(members))
  of.inUse = of.inUse + calls
end

-- One entry of the log has all of the tokens: what was not used is found again at its time.
local function advance(route, id, tokens, calls)
  local w = deploymentAt(route.candidates[1])
  if not plentyAt(w, tokens, calls) then return answer(0, 0, quotaReason) end
  for _, index in ipairs(route.shares) do
    if not plentyOf(shareAt(index), tokens, calls) then return answer(0, 0, tenantReason) end
  end
  local slots = w.most > 0 and w.inUse or 0
  takeMany(w, id, calls)
  add(w, tokens)
  for _ = 2, calls do add(w, 0) end
  keepPace(w, tokens, w.tokenLimit, false)
  w.ahead, w.changed = w.now, true
  local callsLeft, tokensLeft = -1, -1
  for _, index in ipairs(route.shares) do
    local t = shareAt(index)
    takeMany(t, id, calls)
    if t.callLimit + t.tokenLimit > 0 then addToTenant(t, tokens, calls) end
    t.changed = true
    callsLeft, tokensLeft = left(callsLeft, t.callLimit, t.calls), left(tokensLeft, t.tokenLimit, t.tokens)
  end
  answer(1, w.index, w.now, w.sum, unseenAt(w, w.tokenLimit, w.now), slots, callsLeft, tokensLeft)
end

local function decide(route, id, tokens, paced)
  local wait, soonest, reason = 0, never, quotaReason
  for _, index in ipairs(route.shares) do wait = max(wait, shareWait(shareAt(index), tokens)) end
  for _, index in ipairs(route.candidates) do
    local w = deploymentAt(index)
    local at, because = fits(w, tokens, paced)
    if at <= w.now and wait == 0 then return grant(w, route, id, tokens, paced) end
    at = at <= w.now and 0 or at - time
    if at < soonest then soonest, reason = at, because end
    if soonest <= wait then break end
  end
  if wait < soonest then return answer(0, soonest, reason) end
  local callsLeft, tokensLeft, reset = -1, -1, 0
  for _, index in ipairs(route.shares) do
    local t = shareAt(index)
    callsLeft, tokensLeft = left(callsLeft, t.callLimit, t.calls), left(tokensLeft, t.tokenLimit, t.tokens)
    if t.calls > 0 then reset = max(reset, leaves(floor(t.newest / 1000)) - time) end
  end
  return answer(0, wait, tenantReason, callsLeft, tokensLeft, reset)
end

local cursor = 3 * deployments + 3 * shareCount + 2

-- The next operand, and that many more as a list.
local function nextList()
  local list, count = {}, operand(cursor)
  for position = 1, count do list[position] = operand(cursor + position) end
  cursor = cursor + count + 1
  return list
end

local routes, routeCount = {}, operand(cursor)
cursor = cursor + 1
for index = 1, routeCount do routes[index] = { candidates = nextList(), shares = nextList() } end

for at = 3 + cursor, #ARGV, 4 do
  local route, tokens, kind = routes[tonumber(ARGV[at + 3])], tonumber(ARGV[at + 1]), tonumber(ARGV[at + 2])
  if kind < 0 then advance(route, ARGV[at], tokens, 0 - kind) else decide(route, ARGV[at], tokens, kind == 1) end
end
saveOpened()
saveTenants()
answers[#answers + 1] = moves
return answers
