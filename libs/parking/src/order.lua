-- Whose turn it is. Lanes are served by weight (start-time fair queueing: each has a virtual time that a token moves by
-- one over the lane's weight, and the one that is behind goes first), tenants of a lane the same way by their weights,
-- which is deficit round robin without rounds; a tenant's rows by due time. A tenant has one virtual time over all lanes:
-- what it gets through one counts in the others, and so does what ran without ever being parked. A lane that is idle
-- keeps no credit, and one with rows is served in proportion to its weight, so none starves.
--
-- What was interrupted goes first: its turn had come, and was paid for, when its worker died. A tenant that is ahead of the
-- others would otherwise wait through all of their rows a second time.
--
-- No row stands in the way of rows that could go elsewhere: what waits for the same deployments is a class, and each
-- class of a lane has queues of its own. A class without room is passed over until the moment at which there is some.

local firstWindow, widestWindow = 4, 64
-- How soon to ask again when all that stands in the way are tries under way.
local settleMs = 20
-- Tenants looked at for one that is neither blocked nor over its cap.
local lookAhead = 100

local function windowOf(class) return number(call('HGET', key('window'), class)) or firstWindow end

-- Until when the class has no room for this lane; 0 when it may be tried now.
local function closedUntil(lane, class)
  local till = number(call('HGET', blocked, lane .. '|' .. class)) or 0
  if till > now then return till end
  local probes = key('probes', class)
  call('ZREMRANGEBYSCORE', probes, '-inf', whole(now))
  -- Tries are let out few at first, and twice as many with each that finds room: a class that was full must not be
  -- stormed by everybody the moment that it is not.
  if call('ZCARD', probes) >= windowOf(class) then return now + settleMs end
  return 0
end

local function usage(lane, tenant)
  local first, all, ofLane, ofTenant = now, 0, 0, 0
  local current = floor(now / bucketMs)
  for bucket = current - buckets + 1, current do
    local sums = call('HMGET', key('use', whole(bucket)), '@', '*', lane, lane .. '|' .. tenant)
    if sums[1] then
      first = min(first, tonumber(sums[1]))
      all, ofLane, ofTenant = all + tonumber(sums[2]), ofLane + (number(sums[3]) or 0), ofTenant + (number(sums[4]) or 0)
    end
  end
  return { elapsed = max(1000, now - first), all = all, lane = ofLane, tenant = ofTenant }
end

local function overCap(lane, tenant)
  local cap = number(call('HGET', key('caps'), tenant))
  if not cap then return false end
  local use = usage(lane, tenant)
  if use.lane == 0 or use.tenant / use.lane <= cap then return false end
  -- A cap binds only while others wait.
  return number(call('HGET', key('rows'), lane)) > (number(call('HGET', key('rows'), lane .. '|' .. tenant)) or 0)
end

-- The tenant that is furthest behind among those of a class; its place in the zset is corrected on the way.
local function firstTenant(lane, class)
  local tenants, index, wake = tenantsOf(lane, class), 0, never
  for _ = 1, 2 * lookAhead do
    local found = call('ZRANGE', tenants, index, index, 'WITHSCORES')
    local tenant = found[1]
    if not tenant then return nil, nil, wake end
    local real = tenantPass(tenant)
    if real > tonumber(found[2]) + 0.001 then
      call('ZADD', tenants, string.format('%.3f', real), tenant)
    else
      local till = number(call('HGET', blocked, 't:' .. tenant)) or 0
      if till > now then wake = min(wake, till) end
      if till <= now and not overCap(lane, tenant) then return tenant, real, wake end
      index = index + 1
      if index >= lookAhead then return nil, nil, min(wake, now + settleMs) end
    end
  end
  return nil, nil, now + settleMs
end

local function pickInLane(lane)
  local best, wake = nil, never
  for _, class in ipairs(call('HKEYS', key('classes', lane))) do
    local till = closedUntil(lane, class)
    if till > 0 then
      if call('EXISTS', tenantsOf(lane, class)) == 1 then wake = min(wake, till) end
    else
      local tenant, at, later = firstTenant(lane, class)
      wake = min(wake, later)
      if tenant then
        local head = call('ZRANGE', key('queue', lane, class, tenant), 0, 0, 'WITHSCORES')
        local due = tonumber(head[2])
        if not best or at < best.pass or (at == best.pass and due < best.due) then
          best = { row = head[1], pass = at, due = due, class = class }
        end
      end
    end
  end
  return best, wake
end

local function pickInterrupted(open)
  local wake = never
  for _, row in ipairs(call('ZRANGE', interrupted, 0, lookAhead - 1)) do
    local entry = load(row)
    if open[entry.lane] then
      local till = max(closedUntil('!', entry.class), number(call('HGET', blocked, 't:' .. entry.tenant)) or 0)
      if till <= now then return row, entry, wake end
      wake = min(wake, till)
    end
  end
  return nil, nil, wake
end

local function try(row, entry, charged)
  lease(row, entry, charged)
  call('ZADD', key('probes', entry.class), whole(now + probeMs), row)
end

-- The next row of the lanes that have a slot for it; else nothing, and when to ask again.
local function pick(lanes)
  local open, isOpen = {}, {}
  for _, lane in ipairs(lanes) do
    local name = lane[1]
    if call('SISMEMBER', key('paused'), name) == 0 and call('HEXISTS', key('rows'), name) == 1 then
      table.insert(open, { name = name, weight = lane[2], pass = lanePass(name, lane[2]) })
      isOpen[name] = true
    end
  end
  local row, entry, wake = pickInterrupted(isOpen)
  if row then
    try(row, entry)
    return row, entry, wake
  end
  table.sort(open, function(a, b)
    if a.pass ~= b.pass then return a.pass < b.pass end
    if a.weight ~= b.weight then return a.weight > b.weight end
    return a.name < b.name
  end)
  for _, lane in ipairs(open) do
    local best, later = pickInLane(lane.name)
    wake = min(wake, later)
    if best then
      entry = load(best.row)
      setPass('vl', max(pass('vl'), lane.pass))
      setPass('vt', max(pass('vt'), best.pass))
      charge(lane.name, entry.tenant, entry.tokens)
      try(best.row, entry, true)
      return best.row, entry, wake
    end
  end
  return nil, nil, wake
end

-- There is no room for a row of this lane until then, so there is none for those that come after it: its own lane and
-- the lanes of less weight. A lane that is owed more than its head asks for holds everybody up: something small would
-- always fit before something large, for ever.
local function block(entry, untilMs)
  local lane, class, tokens = entry.lane, entry.class, entry.tokens
  local weight = laneWeights[lane] or 1
  local owed = (pass('vl') - lanePass(lane, weight)) * weight
  for other, ofOther in pairs(laneWeights) do
    if other == lane or ofOther <= weight or owed > min(2 * tokens, mostCredit / 2) then
      call('HSET', blocked, other .. '|' .. class, whole(untilMs))
    end
  end
  if entry.interrupted then call('HSET', blocked, '!|' .. class, whole(untilMs)) end
  call('HSET', key('window'), class, 1)
end
