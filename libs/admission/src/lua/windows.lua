-- Admission's scripts: windows, slots, breaker and tenants come first in both, then reserve (one) or learning and
-- operations (the other). Whatever changes the shared state happens in here, so it is atomic over all workers.
-- A field of `settings` stands for a number, which is put into the text before it is loaded.
--
-- KEYS   1 the epoch, 2 drains (hash); then for each deployment, and after them for each tenant share, its state (packed
--        numbers), its log (list) and its slots (sorted set).
-- ARGV   1 operation, 2 time in epoch ms ('' for Redis' own, so that workers' clocks do not matter),
--        3 how many deployments there are among the keys, 4.. operands.
--
-- This part: the windows of a deployment. Its log holds `time:tokens` of every grant of the last token window, oldest
-- first. From it follow all windows exactly: the token window is its sum, and `limit` calls fit in a request window
-- when the limit-th newest grant has left it. Nothing is ever refunded, because the provider does not; a provisioned
-- deployment alone counts what a call really used. Times and tokens are whole numbers, so no rounding drifts.
--
-- Unseen tokens are those that the provider counts and the log does not know. They leave the window evenly over its
-- length. Without an epoch key Redis has lost its memory: then whole windows count as unseen, of tokens and of requests.
-- A refusal says that the window is full, whatever the log thinks; from the end of the cool-down on it empties evenly.
-- Either way the next answer tells how much it really is.

local call, pack, unpackNumbers = redis.call, struct.pack, struct.unpack
local max, min, floor, ceil = math.max, math.min, math.floor, math.ceil
local never = 9007199254740991

local function operand(index) return tonumber(ARGV[3 + index]) end

local function parse(entry)
  local colon = string.find(entry, ':', 1, true)
  return tonumber(string.sub(entry, 1, colon - 1)), tonumber(string.sub(entry, colon + 1))
end

local function timeAt(log, index)
  local entry = call('LINDEX', log, index)
  if entry then return (parse(entry)) end
end

local function whole(number) return string.format('%.0f', number) end

local deployments = tonumber(ARGV[3])
local time = tonumber(ARGV[2])
if not time then
  local parts = call('TIME')
  time = tonumber(parts[1]) * 1000 + floor(tonumber(parts[2]) / 1000)
end
local epoch = tonumber(call('GET', KEYS[1]) or nil)

local function forget()
  epoch = time
  call('SET', KEYS[1], whole(epoch))
end

-- An epoch or a grant beyond the present means that the clock was set back by more than a window: what is known is void.
if not epoch or epoch > time + settings.tokenWindow then forget() end

-- Takes what has left the window off the log. Usually that is an entry or two, after a pause it may be thousands: the
-- chunks grow, so that neither costs much.
local function expire(w)
  local chunk = 4
  while w.count > 0 and w.head + settings.tokenWindow <= w.now do
    local gone = 0
    for _, entry in ipairs(call('LRANGE', w.log, 0, chunk - 1)) do
      local at, tokens = parse(entry)
      w.head = at
      if at + settings.tokenWindow > w.now then break end
      gone, w.sum = gone + 1, w.sum - tokens
    end
    call('LTRIM', w.log, gone, -1)
    w.count, w.changed, chunk = w.count - gone, true, 64
    if w.count > 0 then w.head = timeAt(w.log, 0) end
  end
end

-- The state of a deployment. `limit` and `unseen` are -1 where nothing is known; `breaker` counts as in breaker.lua.
local function open(index)
  local w = { index = index, state = KEYS[3 * index], log = KEYS[3 * index + 1], slots = KEYS[3 * index + 2] }
  w.now = max(time, epoch)
  local state, of = call('GET', w.state), nil
  if state then
    of, w.sum, w.count, w.head, w.newest, w.cool, w.kept, w.unseen, w.measured, w.pace, w.floor, w.limit, w.mean,
      w.breaker, w.since, w.gate, w.openings = unpackNumbers('<ddddddddddddddddd', state)
    -- A worker of before may have written it.
    w.ahead = #state >= 18 * 8 and unpackNumbers('<d', state, 17 * 8 + 1) or 0
    if w.newest > time + settings.tokenWindow then
      forget()
      of = nil
    end
  end
  if of ~= epoch then
    call('DEL', w.state, w.log)
    w.sum, w.count, w.head, w.newest, w.cool, w.kept, w.unseen, w.measured = 0, 0, 0, 0, 0, 0, -1, epoch
    w.pace, w.floor, w.limit, w.mean, w.breaker, w.since, w.gate, w.openings, w.ahead = 0, 0, -1, 0, 0, 0, 0, 0, 0
    w.changed = true
    return w
  end
  -- A clock that was set back a little stands still instead: going back would let grants leave too late, and a log out
  -- of order would let them leave too early.
  w.now = max(w.now, w.newest)
  if w.newest + settings.tokenWindow <= w.now then
    if w.count > 0 then call('DEL', w.log) end
    w.sum, w.count = 0, 0
  else
    expire(w)
  end
  return w
end

local function save(w)
  -- Kept for as long as it differs from none at all. The log's and the slots' end is renewed once a window only.
  local needed = max(w.now, w.cool, w.gate) + 2 * settings.tokenWindow
  if w.kept < needed then
    w.kept = needed + settings.tokenWindow
    call('PEXPIRE', w.log, w.kept - time)
    call('PEXPIRE', w.slots, w.kept - time)
  end
  call('SET', w.state, pack('<dddddddddddddddddd', epoch, w.sum, w.count, w.head, w.newest, w.cool, w.kept, w.unseen,
    w.measured, w.pace, w.floor, w.limit, w.mean, w.breaker, w.since, w.gate, w.openings, w.ahead), 'PX', whole(w.kept - time))
end

-- A script call may be about many requests: the state of a deployment is read once and written once for all of them. What
-- an epoch knew that was forgotten meanwhile is void, as it is for the next script call.
local windowsByIndex = {}

local function windowsOf(index)
  local w = windowsByIndex[index]
  if not w or w.epoch ~= epoch then
    w = open(index)
    w.epoch = epoch
    windowsByIndex[index] = w
  end
  return w
end

local function saveOpened()
  for index = 1, deployments do
    local w = windowsByIndex[index]
    if w and w.changed and w.epoch == epoch then save(w) end
  end
end

local function add(w, tokens)
  call('RPUSH', w.log, whole(w.now) .. ':' .. tokens)
  if w.count == 0 then w.head = w.now end
  w.sum, w.count, w.newest = w.sum + tokens, w.count + 1, w.now
end

local function unseenOf(w, limit) return w.unseen < 0 and limit or min(w.unseen, limit) end

local function unseenAt(w, limit, at)
  local left = min(settings.tokenWindow, max(0, w.measured + settings.tokenWindow - at))
  return floor(unseenOf(w, limit) * left / settings.tokenWindow)
end

-- The first moment from which the unseen tokens leave `room`.
local function unseenFits(w, limit, room)
  local unseen = unseenOf(w, limit)
  if unseen <= room then return 0 end
  return w.measured + settings.tokenWindow - floor(((room + 1) * settings.tokenWindow - 1) / unseen)
end

-- The first moment at which the window with the call holds at most `allowed` of its `limit`.
local function tokensFit(w, tokens, limit, allowed)
  if tokens > allowed then return never end
  local room = allowed - w.sum - tokens
  if room >= 0 and room >= unseenAt(w, limit, w.now) then return w.now end
  local reached, index, size = w.now, 0, 4
  while true do
    local chunk = call('LRANGE', w.log, index, index + size - 1)
    for _, entry in ipairs(chunk) do
      local at, spent = parse(entry)
      local leaves = at + settings.tokenWindow
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

-- Calls whose room was reserved ahead (the last time at `ahead`) may come that much later.
local function callsFit(w, limit, window)
  if w.now < w.ahead + window + settings.aheadMs then window = window + settings.aheadMs end
  if w.count >= limit then return timeAt(w.log, -limit) + window end
  -- In the first window of an epoch it counts as full before the epoch, evenly.
  if w.now >= epoch + window then return w.now end
  return epoch + window - floor((limit - 1 - w.count) * window / limit)
end

-- Calls that can wait are spread over the minute: `pace` is the moment up to which the tokens spent so far would have
-- lasted at an even rate, and such a call waits while that is more than `paceAhead` away. Otherwise a burst of them would
-- fill the window, and the next urgent call would wait for most of a minute. Urgent calls move the pace and do not heed
-- it; so that they cannot starve the others, `floor` keeps a pace of its own at a part of the rate. A window that is
-- nearly empty needs no care. When it will be is looked up in short logs only: in a long one the pace is fast anyway.
local function paceFits(w, tokens, limit)
  local free = floor(limit * settings.paceFree)
  if w.sum + unseenAt(w, limit, w.now) + tokens <= free then return w.now end
  local at = min(ceil(w.pace) - settings.paceAhead, ceil(w.floor))
  if at <= w.now or w.count > settings.paceLog then return at end
  return min(at, tokensFit(w, tokens, limit, free))
end

local function keepPace(w, tokens, limit, paced)
  local lasts = tokens * settings.tokenWindow / limit
  w.pace = max(w.pace, w.now) + lasts
  if paced then w.floor = max(w.floor, w.now) + lasts / settings.paceFloor end
end
