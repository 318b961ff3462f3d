-- Everything but reserve. `moves` is as in breaker.lua.
--   finish   for each deployment its most calls in flight, 1 for a provisioned one, and its tokens a minute; then for each
--            call its deployment, slot id, outcome, time of the grant, tokens, tokens really used (-1: unknown), ms, latency
--            (-1: unknown), its measure, cool-down in ms, how many tenant shares and which. The last keys are those of the
--            deployments' lessons. -> { 1, moves }
--   renew    how many slot keys; for each how many ids, then the ids. KEYS from the third on are the slot keys
--   cool     ms, tokens a minute: the deployment refused a call, nobody gets room on it until then
--   settle   what was reserved ahead: the deployment's tokens a minute, the time of the grant, its tokens and calls, those of
--            them that were used, how many tenant shares it counted for; then the slots that nobody used
--   observe  tokens a minute, tokens used as the provider says; of the grant: tokens used then, its time, its tokens
--   owe      for each deployment the tokens that a worker spent on it while Redis was out of its reach
--   look     for each deployment its tokens a minute and most calls in flight
--            -> for each { breaker, since, limit (-1: none), slots in use, used, unseen, ms of cool-down, drain }, moves
--   drain    until (epoch ms, 0: for good), reason      undrain  -> { whether it was }

-- A call that was granted this long ago has reached its provider.
local settleMs = 1000

local function assume(w, unseen, measured) w.unseen, w.measured, w.changed = unseen, measured, true end

local function cool(w, ms, tokenLimit)
  local till = w.now + ms
  if till <= w.cool then return end
  w.cool = till
  assume(w, max(0, tokenLimit - w.sum), till)
end

local lessonsByIndex = {}

local function finishOne(at, shares)
  local index, id = tonumber(ARGV[at]), ARGV[at + 1]
  local ended = { outcome = ARGV[at + 2], at = tonumber(ARGV[at + 3]), ms = tonumber(ARGV[at + 6]),
    latency = tonumber(ARGV[at + 7]), measure = ARGV[at + 8] }
  local tokens, actual, coolMs = tonumber(ARGV[at + 4]), tonumber(ARGV[at + 5]), tonumber(ARGV[at + 9])
  local most, provisioned, tokenLimit = operand(3 * index - 2), operand(3 * index - 1) == 1, operand(3 * index)
  local w, lessons = windowsOf(index), lessonsByIndex[index]
  if not lessons then
    lessons = openLessons(KEYS[#KEYS - deployments + index])
    lessonsByIndex[index] = lessons
  end
  w.changed = true
  advanceBreaker(w)
  if most > 0 then
    w.inUse = w.inUse or call('ZCARD', w.slots)
    ended.used = w.inUse
    w.inUse = w.inUse - call('ZREM', w.slots, id)
    adapt(w, lessons, most, ended)
  end
  if actual >= 0 and provisioned then correct(w, ended.at, tokens, actual, tokenLimit) end
  judge(w, lessons, ended.outcome, ended.at)
  if coolMs > 0 then cool(w, coolMs, tokenLimit) end
  for position = 1, shares do
    local t = tenantOf(deployments + tonumber(ARGV[at + 10 + position]))
    t.changed = true
    call('ZREM', t.slots, id)
    if actual >= 0 then correctTenant(t, ended.at, tokens, actual, 0) end
    t.mean = t.mean == 0 and ended.ms or t.mean + (ended.ms - t.mean) * 0.1
  end
end

local function finish()
  local at = 4 + 3 * deployments
  while at <= #ARGV do
    local shares = tonumber(ARGV[at + 10])
    finishOne(at, shares)
    at = at + 11 + shares
  end
  saveOpened()
  saveTenants()
  for index, lessons in pairs(lessonsByIndex) do saveLessons(KEYS[#KEYS - deployments + index], lessons) end
  return { 1, moves }
end

-- Room that was reserved ahead and not used never reached the provider, so it is given back whole.
local function settle()
  local limit, at, tokens, calls, spent, used, shares = operand(1), operand(2), operand(3), operand(4), operand(5),
    operand(6), operand(7)
  local unused = {}
  for index = 8, #ARGV - 3 do unused[#unused + 1] = ARGV[3 + index] end
  local w = windowsOf(1)
  local index = call('LPOS', w.log, whole(at) .. ':' .. whole(tokens), 'RANK', -1)
  if index then
    local left = calls - used
    if used > 0 then
      call('LSET', w.log, index, whole(at) .. ':' .. whole(spent))
    else
      call('LREM', w.log, -1, whole(at) .. ':' .. whole(tokens))
      left = left - 1
      w.count = w.count - 1
    end
    if left > 0 then w.count = w.count - call('LREM', w.log, 0 - left, whole(at) .. ':0') end
    w.sum, w.pace, w.changed = w.sum + spent - tokens, w.pace + (spent - tokens) * settings.tokenWindow / limit, true
    if w.count > 0 then w.head = timeAt(w.log, 0) end
  end
  if #unused > 0 then call('ZREM', w.slots, unpack(unused)) end
  for share = 1, shares do
    local t = tenantOf(deployments + share)
    if #unused > 0 then call('ZREM', t.slots, unpack(unused)) end
    correctTenant(t, at, tokens, spent, calls - used)
    t.changed = true
  end
  saveOpened()
  saveTenants()
  return { 1 }
end

local function renew()
  local at = 2
  for key = 1, operand(1) do
    local slots, count = KEYS[2 + key], operand(at)
    call('ZREMRANGEBYSCORE', slots, '-inf', time)
    -- Added again when missing: a Redis that was flushed, or a worker that stood still, forgot calls that are in flight.
    for id = at + 1, at + count do takeSlot(slots, ARGV[3 + id]) end
    call('PEXPIRE', slots, 4 * settings.tokenWindow)
    at = at + count + 1
  end
  return { 1 }
end

local function grantedAfter(w, moment)
  local sum, index = 0, -64
  while true do
    local chunk = call('LRANGE', w.log, index, index + 63)
    for position = #chunk, 1, -1 do
      local at, tokens = parse(chunk[position])
      if at <= moment then return sum end
      sum = sum + tokens
    end
    if #chunk < 64 then return sum end
    index = index - 64
  end
end

-- The provider counted at some time between the grant and now, and may not have met yet what was granted just before.
-- So what it did not get from here lies between two bounds, and the unseen tokens are moved only when they leave them.
local function observe()
  local limit, used, usedAtGrant, granted, tokens = operand(1), operand(2), operand(3), operand(4), operand(5)
  local w = open(1)
  local unseen = unseenAt(w, limit, w.now)
  local least = used - max(usedAtGrant, w.sum)
  if least > unseen then
    assume(w, least, w.now)
  -- An answer to a call from before the last measurement may not know what that one saw.
  elseif granted > w.measured then
    local most = max(0, used - tokens - (w.sum - grantedAfter(w, granted - settleMs)))
    if most < unseen then assume(w, most, w.now) end
  end
  if w.changed then save(w) end
  return { 1 }
end

local function owe()
  for index = 1, deployments do
    local w = open(index)
    add(w, operand(index))
    save(w)
  end
  return { 1 }
end

local function drainOf(w)
  local drain = call('HGET', KEYS[2], w.state)
  if not drain then return '' end
  local till = tonumber(string.match(drain, '^%d+'))
  if till == 0 or till > time then return drain end
  call('HDEL', KEYS[2], w.state)
  return ''
end

local function look()
  local states = {}
  for index = 1, deployments do
    local w, limit, most = open(index), operand(2 * index - 1), operand(2 * index)
    advanceBreaker(w)
    if w.changed then save(w) end
    call('ZREMRANGEBYSCORE', w.slots, '-inf', time)
    states[index] = { w.breaker, w.since, most > 0 and limitOf(w, most) or -1, call('ZCARD', w.slots), w.sum,
      unseenAt(w, limit, w.now), max(0, w.cool - w.now), drainOf(w) }
  end
  states[deployments + 1] = moves
  return states
end

local function coolAlone()
  local w = open(1)
  cool(w, operand(1), operand(2))
  save(w)
  return { 1 }
end

local function drain()
  call('HSET', KEYS[2], KEYS[3], ARGV[4] .. ':' .. ARGV[5])
  return { 1 }
end

local function undrain() return { call('HDEL', KEYS[2], KEYS[3]) } end

local all = { finish = finish, settle = settle, renew = renew, cool = coolAlone, observe = observe, owe = owe, look = look, drain = drain,
  undrain = undrain }
return all[ARGV[1]]()
