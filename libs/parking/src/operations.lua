local operations = {}

local function known() return call('EXISTS', key('epoch')) == 1 end

-- What a worker needs to know between two rows.
local function view(wake)
  local lanes = {}
  for _, lane in ipairs(input.lanes) do
    local name = lane[1]
    local classes = call('HGETALL', key('classes', name))
    local rows = {}
    for index = 1, #classes, 2 do rows[classes[index]] = tonumber(classes[index + 1]) end
    local oldest = call('ZRANGE', key('age', name), 0, 0, 'WITHSCORES')
    lanes[name] = {
      rows = number(call('HGET', key('rows'), name)) or 0,
      tokens = number(call('HGET', key('tokens'), name)) or 0,
      classes = next(rows) and rows or nil,
      paused = call('SISMEMBER', key('paused'), name) == 1,
      purge = number(call('HGET', key('purge'), name)),
      oldest = number(oldest[2]),
    }
  end
  return { lanes = lanes, wake = wake and wake < never and max(0, wake - now) or nil, known = known() }
end

-- A row that waits is in here once, whoever says it how often; a second time moves it and keeps since when it waits.
function operations.park()
  local row, entry = input.row, input.entry
  local before = load(row)
  if before and input.ifAbsent then return { kept = true } end
  entry.parked = now
  if before then
    entry.parked, entry.eta = before.parked, before.eta
    remove(row, before)
  elseif not input.ifAbsent then
    call('HSET', key('last'), entry.lane, whole(now))
  end
  if input.weight == 1 then call('HDEL', weights, entry.tenant) else call('HSET', weights, entry.tenant, tostring(input.weight)) end
  if input.cap < 1 then call('HSET', key('caps'), entry.tenant, tostring(input.cap)) else call('HDEL', key('caps'), entry.tenant) end
  count(entry, 1)
  local answer = {}
  if input.readyInMs > 0 then
    call('ZADD', delayed, whole(now + input.readyInMs), row)
  else
    if input.blockMs then block(entry, now + input.blockMs) end
    enqueue(row, entry)
    if not input.ifAbsent then
      answer = place(row, entry, input.capacity)
      local eta = answer.eta
      if eta and not entry.eta then entry.eta = floor((eta[1] + eta[2]) / 2) end
    end
  end
  call('HSET', entries, row, cjson.encode(entry))
  return answer
end

local function comeBack(from)
  for _, row in ipairs(call('ZRANGEBYSCORE', from, '-inf', whole(now), 'LIMIT', 0, 100)) do
    local entry = load(row)
    call('ZREM', from, row)
    if entry then
      endTry(row, entry)
      -- Its worker died before it claimed the row, which therefore does not count the crash: such a one must not be the
      -- first that every worker tries, for ever.
      if from == leases and entry.interrupted then
        entry.interrupted = nil
        call('HSET', entries, row, cjson.encode(entry))
      end
      enqueue(row, entry)
    end
  end
end

local function first(zset, till)
  return call('ZRANGEBYSCORE', zset, '-inf', whole(till), 'LIMIT', 0, 1)[1]
end

-- What is kept of tenants and classes of which nothing has been heard for long is forgotten with their debts: a lane that
-- serves everybody takes any name for a tenant.
local forgetMs, forgottenAtOnce = 600000, 20

local function waits(kind, name)
  for _, lane in ipairs(input.lanes) do
    local hash, field = key('classes', lane[1]), name
    if kind == 't' then hash, field = key('rows'), lane[1] .. '|' .. name end
    if call('HEXISTS', hash, field) == 1 then return true end
  end
  return false
end

local function forget(most)
  for _, heard in ipairs(call('ZRANGEBYSCORE', heardOf, '-inf', whole(now - forgetMs), 'LIMIT', 0, most)) do
    local kind, name = string.sub(heard, 1, 1), string.sub(heard, 3)
    if waits(kind, name) then
      hear(kind, name)
    elseif kind == 't' then
      call('HDEL', passes, heard)
      call('HDEL', blocked, heard)
      call('ZREM', heardOf, heard)
    else
      call('HDEL', key('window'), name)
      call('HDEL', blocked, '!|' .. name)
      for _, lane in ipairs(input.lanes) do call('HDEL', blocked, lane[1] .. '|' .. name) end
      call('ZREM', heardOf, heard)
    end
  end
end

-- One row to be worked on, leased to the caller: one whose deadline has passed, one that was purged, or the next.
function operations.next()
  for _, charged in ipairs(input.charges or {}) do
    charge(charged[1], charged[2], charged[3])
    used(charged[1], charged[2], charged[3])
  end
  forget(forgottenAtOnce + #(input.charges or {}))
  comeBack(leases)
  comeBack(delayed)
  local why, row = 'expired', first(deadlines, now)
  if not row then
    for _, lane in ipairs(input.lanes) do
      local till = number(call('HGET', key('purge'), lane[1]))
      row = row or (till and first(key('age', lane[1]), till))
    end
    why = 'purged'
  end
  local entry
  if row then
    entry = load(row)
    lease(row, entry)
    return { row = row, entry = entry, why = why, known = known() }
  end
  local wake
  row, entry, wake = pick(input.open)
  if row then return { row = row, entry = entry, why = 'turn', known = known() } end
  for _, zset in ipairs({ leases, delayed, deadlines }) do
    local soonest = call('ZRANGE', zset, 0, 0, 'WITHSCORES')[2]
    if soonest then wake = min(wake, tonumber(soonest)) end
  end
  return view(wake)
end

-- The row found no room: back to its place, and its class, its tenant or itself is left alone for a while.
function operations.later()
  local entry = held()
  if not entry then return {} end
  dequeue(input.row, entry)
  endTry(input.row, entry)
  if entry.charged then charge(entry.lane, entry.tenant, -entry.tokens) end
  local till = now + input.afterMs
  if input.because == 'row' then
    call('ZADD', delayed, whole(till), input.row)
    return {}
  end
  if input.because == 'tenant' then
    call('HSET', blocked, 't:' .. entry.tenant, whole(till))
  else
    block(entry, till)
  end
  enqueue(input.row, entry)
  return {}
end

-- The row found room and is running: it waits no longer.
function operations.taken()
  local entry = held()
  if not entry then return {} end
  remove(input.row, entry)
  used(entry.lane, entry.tenant, entry.tokens)
  call('HSET', key('window'), entry.class, min(widestWindow, 2 * windowOf(entry.class)))
  return { waited = now - entry.parked, eta = entry.eta }
end

-- The row does not wait any more, or never will.
function operations.drop()
  local entry = held()
  if entry then remove(input.row, entry) end
  return {}
end

function operations.place()
  local entry = load(input.row)
  if not entry then return {} end
  return place(input.row, entry, input.capacity)
end

-- For a request that is not in here: what it would have before it if it came now.
function operations.expect()
  local ahead = number(call('HGET', key('rows'), input.lane .. '|' .. input.tenant)) or 0
  local tokens = number(call('HGET', key('tokens', input.lane), input.tenant)) or 0
  if call('SISMEMBER', key('paused'), input.lane) == 1 then return { position = ahead } end
  return { position = ahead, eta = ahead > 0 and estimate(input.lane, input.tenant, tokens, input.capacity, 0) or { 0, 0 } }
end

function operations.look() return view() end

function operations.pause()
  call(input.paused and 'SADD' or 'SREM', key('paused'), input.lane)
  return {}
end

function operations.purge()
  call('HSET', key('purge'), input.lane, whole(input.till))
  return {}
end

-- A server that was started again may have lost its last second of writes, and its epoch not among them.
function operations.served_by()
  local before = call('GETSET', key('server'), input.server)
  if before and before ~= input.server then call('DEL', key('epoch')) end
  return {}
end

-- Of several workers that find no epoch one reads the rows.
function operations.begin()
  return { won = call('SET', key('rebuilding'), '1', 'NX', 'PX', whole(input.forMs)) and true or false }
end

function operations.go_on()
  call('PEXPIRE', key('rebuilding'), whole(input.forMs))
  return {}
end

function operations.done()
  call('SET', key('epoch'), whole(now))
  call('DEL', key('rebuilding'))
  return {}
end

return cjson.encode(operations[operation]())
