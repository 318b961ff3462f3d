-- What the end of a call teaches. The numbers that only this part needs are packed in a key of their own.

local function openLessons(key)
  local lessons, stored = {}, call('GET', key)
  if stored then
    lessons.cut, lessons.fast, lessons.slow, lessons.samples, lessons.fastFirst, lessons.slowFirst, lessons.samplesFirst,
      lessons.of, lessons.failures, lessons.probes, lessons.period, lessons.ok, lessons.bad =
      unpackNumbers('<ddddddddddddd', stored)
    return lessons
  end
  for _, name in ipairs({ 'cut', 'fast', 'slow', 'samples', 'fastFirst', 'slowFirst', 'samplesFirst', 'of', 'failures',
    'probes', 'period', 'ok', 'bad' }) do lessons[name] = 0 end
  return lessons
end

local function saveLessons(key, l)
  call('SET', key, pack('<ddddddddddddd', l.cut, l.fast, l.slow, l.samples, l.fastFirst, l.slowFirst, l.samplesFirst,
    l.of, l.failures, l.probes, l.period, l.ok, l.bad), 'PX', settings.lessonsMs)
end

-- The limit of a deployment's calls in flight: one more for each round of successes while it is the limit that binds, and
-- a part of what was in flight when a call is refused, times out, or is slower than usual by a factor. Calls that started
-- before the last cut tell nothing about its effect, so they cut no further. A deployment that has become slow for
-- everybody would be cut to nothing without getting faster, so latency alone cuts to a part of the most at the least.
-- The latency is ms for each unit of work, or ms to the first byte (`First`), each with a usual value of its own.

local function follow(lessons, latency, measure)
  local fast, slow, samples = lessons['fast' .. measure], lessons['slow' .. measure], lessons['samples' .. measure] + 1
  -- The first samples weigh as a mean does, so that a strange first call is not taken for the usual.
  fast = fast + (latency - fast) * max(settings.fastWeight, 1 / samples)
  slow = slow + (latency - slow) * max(settings.slowWeight, 1 / samples)
  lessons['fast' .. measure], lessons['slow' .. measure], lessons['samples' .. measure] = fast, slow, min(samples, 10000)
  return samples >= settings.latencySamples and fast > settings.slower * slow
end

local function adapt(w, lessons, most, ended)
  if ended.outcome == 'ok' then w.mean = w.mean == 0 and ended.ms or w.mean + (ended.ms - w.mean) * 0.1 end
  local slower = ended.latency >= 0 and follow(lessons, ended.latency, ended.measure)
  local limit = w.limit < 0 and most or min(w.limit, most)
  local cut
  if ended.outcome == 'refused' or ended.outcome == 'timeout' then
    cut = max(1, min(limit, ended.used) * settings.refusedCut)
  elseif slower then
    cut = min(limit, max(ceil(most / 8), min(limit, ended.used) * settings.slowerCut))
  end
  if cut then
    if ended.at > lessons.cut then limit, lessons.cut = cut, time end
  elseif ended.outcome == 'ok' and ended.used >= 0.8 * limit then
    limit = min(most, limit + 1 / limit)
  end
  w.limit = limit
end

local function openFor(w)
  w.openings = w.openings + 1
  become(w, opened, w.now + min(settings.openMost, settings.openMs * 2 ^ (w.openings - 1)))
end

-- A call that was granted before the breaker moved tells nothing about the state that it moved to.
local function judge(w, lessons, outcome, at)
  if w.breaker == opened or (outcome ~= 'ok' and outcome ~= 'failed' and outcome ~= 'timeout') then return end
  if w.breaker ~= closed and at < w.since then return end
  if lessons.of ~= w.since then
    lessons.of, lessons.failures, lessons.probes, lessons.period = w.since, 0, 0, 0
  end
  if w.breaker == halfOpen then
    if outcome ~= 'ok' then return openFor(w) end
    lessons.probes = lessons.probes + 1
    if lessons.probes >= settings.probes then become(w, recovering, 0) end
    return
  end
  if lessons.period + settings.ratePeriod <= w.now then lessons.period, lessons.ok, lessons.bad = w.now, 0, 0 end
  if outcome == 'ok' then
    lessons.failures, lessons.ok = 0, lessons.ok + 1
    return
  end
  lessons.failures, lessons.bad = lessons.failures + 1, lessons.bad + 1
  local most = w.breaker == recovering and settings.recoveryFailures or settings.failures
  local calls = lessons.ok + lessons.bad
  local often = calls >= settings.rateCalls and lessons.bad >= settings.failureRate * calls
  if lessons.failures >= most or often then openFor(w) end
end

-- A provisioned deployment counts what its calls really used. One grant of the same moment and size is as good as another.
local function correct(w, at, tokens, actual, limit)
  local index = call('LPOS', w.log, whole(at) .. ':' .. tokens, 'RANK', -1)
  if not index then return end
  call('LSET', w.log, index, whole(at) .. ':' .. actual)
  w.sum, w.pace = w.sum + actual - tokens, w.pace + (actual - tokens) * settings.tokenWindow / limit
end

-- `unused`: calls that were reserved ahead and never made.
local function correctTenant(t, at, tokens, actual, unused)
  local granted = floor(at / 1000)
  if t.calls > 0 and granted == floor(t.newest / 1000) then
    local right, made = max(0, t.secondTokens + actual - tokens), max(0, t.secondCalls - unused)
    t.tokens, t.secondTokens = t.tokens + right - t.secondTokens, right
    t.calls, t.secondCalls = t.calls + made - t.secondCalls, made
    return
  end
  -- Most calls were granted a few seconds ago: from the end on, one by one.
  local position = -1
  while true do
    local entry = call('LINDEX', t.log, position)
    if not entry then return end
    local second, calls, spent = parseSecond(entry)
    if second < granted then return end
    if second == granted then
      local right, made = max(0, spent + actual - tokens), max(0, calls - unused)
      call('LSET', t.log, position, whole(second) .. ':' .. whole(made) .. ':' .. whole(right))
      t.tokens, t.calls = t.tokens + right - spent, t.calls + made - calls
      return
    end
    position = position - 1
  end
end
