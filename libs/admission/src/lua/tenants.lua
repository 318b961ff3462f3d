-- The limits of a tenant or a key: calls and tokens of the last minute, by the second. A second leaves as a whole when
-- its last moment is a minute old. The current one is in the state, those before it in the log as `second:calls:tokens`.
-- Tokens are set right when a call ends, because unlike a provider we know what it used. What a flush of Redis forgets
-- counts as unused: these limits are between tenants, and the deployments' own windows still hold.

local function parseSecond(entry)
  local second, calls, tokens = string.match(entry, '^(%d+):(%d+):(%d+)$')
  return tonumber(second), tonumber(calls), tonumber(tokens)
end

local function leaves(second) return second * 1000 + settings.tokenWindow end

local function openTenant(index)
  local t = { state = KEYS[3 * index], log = KEYS[3 * index + 1], slots = KEYS[3 * index + 2], now = time }
  local state = call('GET', t.state)
  if state then
    t.calls, t.tokens, t.head, t.newest, t.secondCalls, t.secondTokens, t.kept, t.mean = unpackNumbers('<dddddddd', state)
  end
  -- As with deployments: a clock that was set back stands still, or starts over when that would take too long.
  if not state or t.newest > time + settings.tokenWindow or leaves(floor(t.newest / 1000)) <= time then
    -- Also without a state: the log may not have expired with it.
    call('DEL', t.log)
    t.calls, t.tokens, t.head, t.newest, t.secondCalls, t.secondTokens, t.kept = 0, 0, 0, 0, 0, 0, 0
    t.mean, t.changed = t.mean or 0, state
    return t
  end
  t.now = max(time, t.newest)
  while t.head > 0 and leaves(t.head) <= t.now do
    local _, calls, tokens = parseSecond(call('LPOP', t.log))
    t.calls, t.tokens, t.changed = t.calls - calls, t.tokens - tokens, true
    local head = call('LINDEX', t.log, 0)
    t.head = head and parseSecond(head) or 0
  end
  return t
end

-- The first moment at which the share leaves room for a call; absent limits are 0.
local function tenantFits(t, tokens, callLimit, tokenLimit)
  local calls, spent, at, index = t.calls, t.tokens, t.now, 0
  while (callLimit > 0 and calls + 1 > callLimit) or (tokenLimit > 0 and spent + tokens > tokenLimit) do
    local entry = call('LINDEX', t.log, index)
    if not entry then return leaves(floor(t.newest / 1000)) end
    local second, gone, used = parseSecond(entry)
    calls, spent, at, index = calls - gone, spent - used, leaves(second), index + 1
  end
  return at
end

local function saveTenant(t)
  if t.kept < t.now + settings.tokenWindow then
    t.kept = t.now + 4 * settings.tokenWindow
    call('PEXPIRE', t.log, t.kept - time)
    call('PEXPIRE', t.slots, t.kept - time)
  end
  call('SET', t.state, pack('<dddddddd', t.calls, t.tokens, t.head, t.newest, t.secondCalls, t.secondTokens, t.kept, t.mean),
    'PX', whole(t.kept - time))
end

-- As windowsOf: once for all requests of a script call.
local tenantsByIndex = {}

local function tenantOf(index)
  local t = tenantsByIndex[index]
  if not t then
    t = openTenant(index)
    tenantsByIndex[index] = t
  end
  return t
end

local function saveTenants()
  for _, t in pairs(tenantsByIndex) do
    if t.changed then saveTenant(t) end
  end
end

local function addToTenant(t, tokens, calls)
  local second, before = floor(t.now / 1000), floor(t.newest / 1000)
  if second ~= before then
    if t.secondCalls > 0 then
      call('RPUSH', t.log, whole(before) .. ':' .. whole(t.secondCalls) .. ':' .. whole(t.secondTokens))
      -- A log that begins anew has no end of its own yet.
      if t.head == 0 then t.head, t.kept = before, 0 end
    end
    t.secondCalls, t.secondTokens = 0, 0
  end
  t.secondCalls, t.secondTokens = t.secondCalls + calls, t.secondTokens + tokens
  t.calls, t.tokens, t.newest = t.calls + calls, t.tokens + tokens, t.now
end
