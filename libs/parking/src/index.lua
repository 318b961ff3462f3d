-- The parking index: which waiting requests there are, in which order they are due, and who is trying one now. Every
-- change of it is one call of this script, which is these files one after the other: index, order, estimate, operations.
--
-- KEYS[1] is a prefix with a hash tag: all keys lie on one node of a cluster. ARGV[1] names the operation, ARGV[2] is its
-- input as JSON. Times are Redis' own, epoch ms, so that workers' clocks do not matter (`input.now` where time is
-- simulated). Tokens are the provider's estimate of a call. A row is named `<tenant>|<request id>`.
--
--   entries                         hash    row -> its entry, whatever state it is in
--   queue:<lane>:<class>:<tenant>   zset    rows that may be tried, by due time
--   tenants:<lane>:<class>          zset    tenants with such rows, by their pass; may lag behind the real one
--   leases, delayed                 zset    rows that are being tried, or wait for a time of their own; until when
--   interrupted                     zset    rows of the queues whose worker died on them, by due time
--   deadlines, age:<lane>           zset    rows of the queues by deadline, and by the time of their acceptance
--   rows, tokens                    hash    how many, and their tokens, by lane and `lane|tenant`
--   classes:<lane>                  hash    rows by class
--   pass                            hash    virtual time by lane (l:) and tenant (t:), and where service stands (vl, vt)
--   weights, caps                   hash    of tenants that have other ones than all others
--   heard                           zset    tenants (t:) and classes (c:), by when something was last heard of them
--   since, last                     hash    by lane, since when rows wait and when the last one came
--   blocked                         hash    `lane|class`, `!|class` for what was interrupted, and `t:tenant` -> until when
--                                           there is no room
--   window, probes:<class>          hash    how many rows of a class may be tried at once; zset of those that are
--   use:<ten seconds>               hash    tokens that went out, by lane and `lane|tenant` and * for all; @ is the first
--   paused, purge                   set of lanes; hash lane -> rows accepted until then are to be ended
--   epoch                           absent: Redis lost its memory, the rows in Cosmos know what was here

local prefix, operation, input = KEYS[1], ARGV[1], cjson.decode(ARGV[2])
local call, max, min, floor = redis.call, math.max, math.min, math.floor
local never = 9007199254740991
-- How long a row is left to whoever tries it, and for how long a try counts against its class: most last a few
-- milliseconds, and one of a worker that died must not keep a class shut.
local leaseMs, probeMs = 20000, 3000
local bucketMs, buckets = 10000, 6

local function key(...) return prefix .. ':' .. table.concat({ ... }, ':') end
local function whole(number) return string.format('%.0f', number) end
local function number(text) return text and tonumber(text) or nil end

local function clock()
  if input.now then return input.now end
  local time = call('TIME')
  return tonumber(time[1]) * 1000 + floor(tonumber(time[2]) / 1000)
end
local now = clock()

local entries, leases, delayed, deadlines = key('entries'), key('leases'), key('delayed'), key('deadlines')
local weights, passes, blocked, heardOf = key('weights'), key('pass'), key('blocked'), key('heard')
local interrupted = key('interrupted')

local function hear(kind, name) call('ZADD', heardOf, whole(now), kind .. ':' .. name) end

local function load(row)
  local text = call('HGET', entries, row)
  return text and cjson.decode(text) or nil
end

local function weightOf(tenant) return number(call('HGET', weights, tenant)) or 1 end

local laneWeights = {}
for _, lane in ipairs(input.lanes or {}) do laneWeights[lane[1]] = lane[2] end

local function bump(hash, field, by)
  if call('HINCRBY', hash, field, whole(by)) <= 0 then call('HDEL', hash, field) end
end

local function pass(name) return number(call('HGET', passes, name)) or 0 end
local function setPass(name, value) call('HSET', passes, name, string.format('%.3f', value)) end

-- Who could not be served for long does not come back with all of it at once, and a tenant that took more than its part
-- through another door is not shut out for all of that: they differ from where service stands by this much at most.
local mostCredit, mostDebt = 50000, 500000

local function lanePass(lane, weight) return max(pass('l:' .. lane), pass('vl') - mostCredit / weight) end

local function tenantPass(tenant)
  local at, weight = pass('vt'), weightOf(tenant)
  return min(max(pass('t:' .. tenant), at - mostCredit / weight), at + mostDebt / weight)
end

local function queueOf(entry) return key('queue', entry.lane, entry.class, entry.tenant) end
local function tenantsOf(lane, class) return key('tenants', lane, class) end

-- Into the queue: from now on it may be tried.
local function enqueue(row, entry)
  call('ZADD', queueOf(entry), whole(entry.due), row)
  call('ZADD', tenantsOf(entry.lane, entry.class), string.format('%.3f', tenantPass(entry.tenant)), entry.tenant)
  if entry.interrupted then call('ZADD', interrupted, whole(entry.due), row) end
  call('ZADD', key('age', entry.lane), whole(entry.accepted), row)
  if entry.deadline then call('ZADD', deadlines, whole(entry.deadline), row) end
end

local function dequeue(row, entry)
  local queue = queueOf(entry)
  call('ZREM', queue, row)
  if call('EXISTS', queue) == 0 then call('ZREM', tenantsOf(entry.lane, entry.class), entry.tenant) end
  call('ZREM', interrupted, row)
  call('ZREM', key('age', entry.lane), row)
  call('ZREM', deadlines, row)
end

-- Whoever was away comes back where service stands: nothing is saved up while there is nothing to serve.
local function count(entry, sign)
  local lane, both = entry.lane, entry.lane .. '|' .. entry.tenant
  local rows = key('rows')
  if sign > 0 then
    if call('HEXISTS', rows, lane) == 0 then
      setPass('l:' .. lane, max(pass('l:' .. lane), pass('vl')))
      call('HSET', key('since'), lane, whole(now))
    end
    hear('t', entry.tenant)
    hear('c', entry.class)
    if call('HEXISTS', rows, both) == 0 then setPass('t:' .. entry.tenant, max(tenantPass(entry.tenant), pass('vt'))) end
  end
  bump(rows, lane, sign)
  bump(rows, both, sign)
  bump(key('classes', lane), entry.class, sign)
  bump(key('tokens'), lane, sign * entry.tokens)
  bump(key('tokens', lane), entry.tenant, sign * entry.tokens)
end

-- Every lease has a number of its own. Who comes too late with an answer, because the lease had ended and the row was
-- handed to another or parked anew, changes nothing. `charged`: its tokens are to be given back when there is no room.
local function lease(row, entry, charged)
  dequeue(row, entry)
  entry.charged = charged
  entry.turn = call('INCR', key('turns'))
  call('HSET', entries, row, cjson.encode(entry))
  call('ZADD', leases, whole(now + leaseMs), row)
end

local function held()
  local entry = load(input.row)
  if entry and entry.turn == input.turn then return entry end
end

local function endTry(row, entry)
  call('ZREM', leases, row)
  call('ZREM', delayed, row)
  call('ZREM', key('probes', entry.class), row)
end

local function remove(row, entry)
  dequeue(row, entry)
  endTry(row, entry)
  call('HDEL', entries, row)
  count(entry, -1)
end

-- What went out, for the shares and for the estimates.
local function used(lane, tenant, tokens)
  local bucket = key('use', whole(floor(now / bucketMs)))
  call('HSETNX', bucket, '@', whole(now))
  for _, field in ipairs({ '*', lane, lane .. '|' .. tenant }) do call('HINCRBY', bucket, field, whole(tokens)) end
  call('PEXPIRE', bucket, bucketMs * (buckets + 1))
end

local function charge(lane, tenant, tokens)
  local weight = laneWeights[lane] or 1
  setPass('l:' .. lane, lanePass(lane, weight) + tokens / weight)
  setPass('t:' .. tenant, tenantPass(tenant) + tokens / weightOf(tenant))
  hear('t', tenant)
end
