-- Where a row stands, and when its turn may come.
--
-- The range is what two assumptions give. The early end: nothing more arrives, so that what is ahead of the row is its
-- tenant's rows before it and, of every other tenant and lane, what their weights let through meanwhile, at the rate at
-- which tokens go out now. The late end: requests go on arriving as they do for another minute, or for half as long
-- as they have until now if that is longer; in that time the tenant gets the part that it gets now, and what is left then
-- goes out as at the early end. Tokens ahead are the rows ahead times the tenant's mean in the lane.

local mostTenants = 200
local horizonMs = 60000

local function rowsAhead(row, entry)
  local ahead = 0
  for _, class in ipairs(call('HKEYS', key('classes', entry.lane))) do
    local queue = key('queue', entry.lane, class, entry.tenant)
    ahead = ahead + call('ZCOUNT', queue, '-inf', '(' .. whole(entry.due))
  end
  return ahead
end

-- For how long a lane's rows go on arriving at the late end, and by how much its queue is longer half way through; 0 and
-- nothing when they have ceased to arrive.
local function goesOn(lane)
  local since, last = number(call('HGET', key('since'), lane)), number(call('HGET', key('last'), lane))
  if not since or not last then return 0, 1 end
  local lasted = now - since
  if now - last > max(3000, lasted / 20) then return 0, 1 end
  local ms = max(horizonMs, lasted / 2)
  return ms, 1 + ms / 2 / max(1000, lasted)
end

-- What other tenants of the lane get while this one gets `tokens`, and the sum of the weights that compete.
local function meanwhile(lane, tenant, tokens, growth)
  local mine, others, sum = weightOf(tenant), 0, 0
  local waiting = key('tokens', lane)
  -- One that is ahead of where service stands waits until the others have caught up.
  tokens = tokens + max(0, tenantPass(tenant) - pass('vt')) * mine
  local count = call('HLEN', waiting)
  if count > mostTenants then
    local total = (number(call('HGET', key('tokens'), lane)) or 0) - (number(call('HGET', waiting, tenant)) or 0)
    return min(total * growth, tokens * (count - 1)), mine * count
  end
  local all = call('HGETALL', waiting)
  for index = 1, #all, 2 do
    if all[index] ~= tenant then
      local weight = weightOf(all[index])
      others, sum = others + min(tonumber(all[index + 1]) * growth, tokens * weight / mine), sum + weight
    end
  end
  return others, sum + mine
end

-- The tokens that go out until the tenant has got so many, with nothing arriving; and its part of all that goes out.
local function untilServed(lane, tenant, tokens, grown)
  local function growth(of) return grown and select(2, goesOn(of)) or 1 end
  local others, tenantWeights = meanwhile(lane, tenant, tokens, growth(lane))
  local inLane, mine = tokens + others, laneWeights[lane] or 1
  local all, laneSum = inLane, mine
  for other, weight in pairs(laneWeights) do
    local waiting = number(call('HGET', key('tokens'), other))
    if other ~= lane and waiting then
      all, laneSum = all + min(waiting * growth(other), inLane * weight / mine), laneSum + weight
    end
  end
  return all, mine / laneSum * weightOf(tenant) / tenantWeights
end

-- Ms from now, early and late; nothing where no rate is known or the lane does not move.
local function estimate(lane, tenant, tokens, capacity, blockedForMs)
  if call('SISMEMBER', key('paused'), lane) == 1 then return nil end
  local use = usage(lane, tenant)
  local rate = use.all > 0 and use.all / use.elapsed or capacity
  if not rate or rate <= 0 then return nil end
  local all, part = untilServed(lane, tenant, tokens, false)
  local early, late, arriving = all / rate, all / rate, goesOn(lane)
  local own = use.tenant > 0 and use.tenant / use.elapsed or rate * part
  if arriving > 0 and tokens <= own * arriving then
    late = tokens / own
  elseif arriving > 0 then
    late = arriving + untilServed(lane, tenant, tokens - own * arriving, true) / rate
  end
  early = max(blockedForMs, early)
  return { floor(early), floor(max(early, late)) }
end

local function placeOfInterrupted(entry)
  local position = call('ZCOUNT', interrupted, '-inf', '(' .. whole(entry.due))
  if call('SISMEMBER', key('paused'), entry.lane) == 1 then return { position = position } end
  local till = max(now, number(call('HGET', blocked, '!|' .. entry.class)) or 0)
  return { position = position, eta = { till - now, till - now } }
end

local function place(row, entry, capacity)
  if entry.interrupted then return placeOfInterrupted(entry) end
  local ahead = rowsAhead(row, entry)
  local both = entry.lane .. '|' .. entry.tenant
  local rows = max(1, number(call('HGET', key('rows'), both)) or 1)
  local mean = (number(call('HGET', key('tokens', entry.lane), entry.tenant)) or entry.tokens) / rows
  local till = number(call('HGET', blocked, entry.lane .. '|' .. entry.class)) or 0
  local eta = estimate(entry.lane, entry.tenant, ahead * mean + entry.tokens, capacity, max(0, till - now))
  return { position = ahead, eta = eta }
end
