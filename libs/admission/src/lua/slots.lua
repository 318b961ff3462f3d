-- Slots: the calls in flight of a deployment or a tenant, each with the moment at which it counts as lost unless its
-- worker renews it before. A dead worker's slots are taken out when somebody misses them.

local function slotsInUse(slots, limit)
  local used = call('ZCARD', slots)
  if used < limit then return used end
  call('ZREMRANGEBYSCORE', slots, '-inf', time)
  return call('ZCARD', slots)
end

-- Nobody knows when a call will end: on average, calls that take `mean` ms end this far apart.
local function slotExpected(mean, used)
  return max(settings.slotWaitLeast, min(settings.slotWaitMost, ceil(mean / max(1, used))))
end

local function takeSlot(slots, id) call('ZADD', slots, time + settings.lease, id) end

local function limitOf(w, most) return w.limit < 0 and most or max(1, min(most, floor(w.limit))) end
