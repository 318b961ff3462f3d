-- A deployment's breaker.
--   closed      every call passes. Several failures in a row, or too large a part of the calls of a period → open
--   open        no call passes until `gate`; the first reservation after it → half_open
--   half_open   a call passes every so often (from `gate` on). Enough successes → recovering, any failure → open, longer
--   recovering  calls pass at a tenth of the limits, then two tenths and so on; failures in a row → open, longer;
--               after all ten steps → closed
-- Probes are spaced and not counted, so that a probe whose worker dies does not block the next one.

local closed, opened, halfOpen, recovering = 0, 1, 2, 3
-- Every move of this call: index, from, to.
local moves = {}

local function become(w, to, gate)
  local count = #moves
  moves[count + 1], moves[count + 2], moves[count + 3] = w.index, w.breaker, to
  w.breaker, w.since, w.gate, w.changed = to, w.now, gate, true
end

-- Moves the breaker on when its time has come.
local function advanceBreaker(w)
  if w.breaker == opened and w.now >= w.gate then
    become(w, halfOpen, w.now)
  elseif w.breaker == recovering and w.now >= w.since + settings.recoverMs then
    become(w, closed, 0)
    w.openings = 0
  end
end

-- How many tenths of its limits, less one, a deployment has in its recovery, and when that step begins.
local function recoveryStep(w, at) return min(9, floor((at - w.since) * 10 / settings.recoverMs)) end
local function recoveryStart(w, step) return w.since + ceil(step * settings.recoverMs / 10) end
