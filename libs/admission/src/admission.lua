-- Quota windows of model deployments. Every change of them happens in here, so it is atomic over all workers.
--
-- KEYS   1 the epoch; then for each deployment its state (hash) and its log (list).
-- ARGV   1 operation, 2 time in epoch ms ('' for Redis' own, so that workers' clocks do not matter),
--        3 token window, 4..6 request windows of a second, ten seconds and a minute (ms), 7.. operands:
--   reserve  tokens, then for each deployment its tokens and requests a minute
--            -> { 1, index, now, used, unseen } for the first deployment with room, or { 0, ms until one has room }
--   cool     ms, tokens a minute: the deployment refused a call, nobody gets room on it until then
--   observe  tokens a minute, tokens used as the provider says; of the grant: tokens used then, its time, its tokens
--   owe      for each deployment the tokens that a worker spent on it while Redis was out of its reach
--
-- A log holds `time:tokens` of every grant of the last token window, oldest first. From it follow all windows exactly:
-- the token window is its sum, and `limit` calls fit in a request window when the limit-th newest grant has left it.
-- Nothing is ever refunded, because the provider does not. All quantities are whole numbers, so no rounding drifts.
--
-- Unseen tokens are those that the provider counts and the log does not know. They leave the window evenly over its
-- length. Without an epoch key Redis has lost its memory: then whole windows count as unseen, of tokens and of requests.
-- A refusal says that the window is full, whatever the log thinks; from the end of the cool-down on it empties evenly.
-- Either way the next answer tells how much it really is.

local operation, given = ARGV[1], tonumber(ARGV[2])
local tokenWindow, operands = tonumber(ARGV[3]), 6
local max, min, floor, ceil = math.max, math.min, math.floor, math.ceil
local never = 9007199254740991
-- A call that was granted this long ago has reached its provider.
local settleMs = 1000

local function operand(index) return tonumber(ARGV[operands + index]) end

local function clock()
  if given then return given end
  local time = redis.call('TIME')
  return tonumber(time[1]) * 1000 + floor(tonumber(time[2]) / 1000)
end

local function parse(entry)
  local colon = string.find(entry, ':', 1, true)
  return tonumber(string.sub(entry, 1, colon - 1)), tonumber(string.sub(entry, colon + 1))
end

local function timeAt(log, index)
  local entry = redis.call('LINDEX', log, index)
  if entry then return (parse(entry)) end
end

local function whole(number) return string.format('%.0f', number) end

local time = clock()
local epoch = tonumber(redis.call('GET', KEYS[1]) or nil)

local function forget()
  epoch = time
  redis.call('SET', KEYS[1], whole(epoch))
end

-- An epoch or a grant beyond the present means that the clock was set back by more than a window: what is known is void.
if not epoch or epoch > time + tokenWindow then forget() end

-- Takes what has left the window off the log. Usually that is an entry or two, after a pause it may be thousands: the
-- chunks grow, so that neither costs much.
local function expire(w)
  local head, chunk = timeAt(w.log, 0), 4
  while head and head + tokenWindow <= w.now do
    local gone = 0
    for _, entry in ipairs(redis.call('LRANGE', w.log, 0, chunk - 1)) do
      local at, tokens = parse(entry)
      if at + tokenWindow > w.now then break end
      gone, w.sum, w.changed = gone + 1, w.sum - tokens, true
    end
    redis.call('LTRIM', w.log, gone, -1)
    head, chunk = timeAt(w.log, 0), 64
  end
end

local function open(index)
  local w = { state = KEYS[2 * index], log = KEYS[2 * index + 1], now = max(time, epoch) }
  local state = redis.call('HMGET', w.state, 'epoch', 'sum', 'newest', 'cool', 'kept', 'unseen', 'measured')
  local newest = tonumber(state[3] or nil) or 0
  local void = newest > time + tokenWindow
  if void then forget() end
  if void or tonumber(state[1] or nil) ~= epoch then
    redis.call('DEL', w.state, w.log)
    w.sum, w.newest, w.cool, w.kept, w.count, w.changed = 0, 0, 0, 0, 0, true
    return w
  end
  w.sum, w.newest, w.cool, w.kept = tonumber(state[2]), newest, tonumber(state[4]), tonumber(state[5])
  w.unseen, w.measured = tonumber(state[6] or nil), tonumber(state[7] or nil)
  -- A clock that was set back a little stands still instead: going back would let grants leave too late, and a log out
  -- of order would let them leave too early.
  w.now = max(w.now, newest)
  if newest + tokenWindow <= w.now then
    if w.sum > 0 then redis.call('DEL', w.log) end
    w.sum, w.count = 0, 0
  else
    expire(w)
    w.count = redis.call('LLEN', w.log)
  end
  return w
end

local function save(w)
  redis.call('HSET', w.state, 'epoch', whole(epoch), 'sum', w.sum, 'newest', whole(w.newest), 'cool', whole(w.cool))
  -- Kept for as long as it differs from none at all, and renewed once a window only: it costs as much as the rest.
  local needed = max(w.now, w.cool) + 2 * tokenWindow
  if w.kept < needed then
    redis.call('HSET', w.state, 'kept', whole(needed + tokenWindow))
    redis.call('PEXPIRE', w.state, needed + tokenWindow - time)
    redis.call('PEXPIRE', w.log, needed + tokenWindow - time)
  end
end

local function add(w, tokens)
  redis.call('RPUSH', w.log, whole(w.now) .. ':' .. whole(tokens))
  w.sum, w.count, w.newest = w.sum + tokens, w.count + 1, w.now
end

local function unseenAt(w, limit, at)
  local left = min(tokenWindow, max(0, (w.measured or epoch) + tokenWindow - at))
  return floor(min(w.unseen or limit, limit) * left / tokenWindow)
end

-- The first moment from which the unseen tokens leave `room`.
local function unseenFits(w, limit, room)
  local unseen = min(w.unseen or limit, limit)
  if unseen <= room then return 0 end
  return (w.measured or epoch) + tokenWindow - floor(((room + 1) * tokenWindow - 1) / unseen)
end

local function tokensFit(w, tokens, limit)
  if tokens > limit then return never end
  local room = limit - w.sum - tokens
  if room >= unseenAt(w, limit, w.now) then return w.now end
  local reached, index, size = w.now, 0, 4
  while true do
    local chunk = redis.call('LRANGE', w.log, index, index + size - 1)
    for _, entry in ipairs(chunk) do
      local at, spent = parse(entry)
      local leaves = at + tokenWindow
      if room >= 0 then
        local fits = max(reached, unseenFits(w, limit, room))
        if fits < leaves then return fits end
      end
      reached, room = leaves, room + spent
    end
    if #chunk < size then return max(reached, unseenFits(w, limit, room)) end
    index, size = index + size, 64
  end
end

local function callFits(w, limit, window)
  if w.count >= limit then return timeAt(w.log, -limit) + window end
  -- In the first window of an epoch it counts as full before the epoch, evenly.
  local room = limit - 1 - w.count
  if w.now < epoch + window then return epoch + window - floor(room * window / limit) end
  return w.now
end

-- The first moment at which all limits leave room for a call; it has come when it is not after w.now.
local function fits(w, tokens, tokenLimit, minuteLimit)
  local at = max(w.cool, tokensFit(w, tokens, tokenLimit))
  at = max(at, callFits(w, max(1, ceil(minuteLimit / 60)), tonumber(ARGV[4])))
  at = max(at, callFits(w, max(1, ceil(minuteLimit / 6)), tonumber(ARGV[5])))
  return max(at, callFits(w, minuteLimit, tonumber(ARGV[6])))
end

local function reserve()
  local tokens, soonest = operand(1), never
  for index = 1, (#KEYS - 1) / 2 do
    local limit = operand(2 * index)
    local w = open(index)
    local at = fits(w, tokens, limit, operand(2 * index + 1))
    if at <= w.now then
      add(w, tokens)
      save(w)
      return { 1, index, w.now, w.sum, unseenAt(w, limit, w.now) }
    end
    if w.changed then save(w) end
    soonest = min(soonest, at - time)
  end
  return { 0, soonest }
end

local function assume(w, unseen, measured)
  w.unseen, w.measured, w.changed = unseen, measured, true
  redis.call('HSET', w.state, 'unseen', whole(unseen), 'measured', whole(measured))
end

local function cool()
  local w = open(1)
  local till = w.now + operand(1)
  if till > w.cool then
    w.cool = till
    assume(w, max(0, operand(2) - w.sum), till)
  end
  save(w)
  return { 1 }
end

local function grantedAfter(w, moment)
  local sum, index = 0, -64
  while true do
    local chunk = redis.call('LRANGE', w.log, index, index + 63)
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
  elseif granted > (w.measured or epoch) then
    local most = max(0, used - tokens - (w.sum - grantedAfter(w, granted - settleMs)))
    if most < unseen then assume(w, most, w.now) end
  end
  if w.changed then save(w) end
  return { 1 }
end

local function owe()
  for index = 1, (#KEYS - 1) / 2 do
    local w = open(index)
    add(w, operand(index))
    save(w)
  end
  return { 1 }
end

local operations = { reserve = reserve, cool = cool, observe = observe, owe = owe }
return operations[operation]()
