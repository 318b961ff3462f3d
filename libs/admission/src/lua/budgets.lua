-- What a tenant has spent, in nano-dollars, so that all amounts are whole numbers.
--
-- KEYS   of one tenant: 1 spent (hash: `month:YYYY-MM`, `day:YYYY-MM-DD`, `held`, and `loaded:YYYY-MM` once the month's
--        checkpoint is in it), 2 holds (sorted set: id by the time at which its lease ends), 3 amounts (hash: id → held)
-- ARGV   1 operation, 2 time in epoch ms ('' for Redis' own), 3 month, 4 day, 5.. operands
--   reserve  id, amount, limit of the day, limit of the month (-1: none)
--            -> { 1 } held, { 0, 1 } the day has not that much left, { 0, 2 } the month, { -1 } not loaded yet
--   commit   id, amount: ends the hold, if it is still there, and counts the amount anyway
--   release  id
--   renew    id and amount, repeated; a hold that is missing is made again
--   load     the checkpoint: the month's amount, then day and amount, repeated; only the first one counts
--   look     -> { 1 when loaded, held, then every field of the month and its amount }
--
-- What is committed before a flushed Redis is loaded again adds up with the checkpoint, which cannot contain it: only
-- loaded months are checkpointed.

local spent, holds, amounts = KEYS[1], KEYS[2], KEYS[3]
local month, day = 'month:' .. ARGV[3], 'day:' .. ARGV[4]
local loaded = 'loaded:' .. ARGV[3]
local call = redis.call
local keptMs = 40 * 24 * 3600 * 1000

local time = tonumber(ARGV[2])
if not time then
  local parts = call('TIME')
  time = tonumber(parts[1]) * 1000 + math.floor(tonumber(parts[2]) / 1000)
end

local function numberAt(field) return tonumber(call('HGET', spent, field) or nil) or 0 end

local function drop(id)
  local amount = call('HGET', amounts, id)
  if not amount then return end
  call('HDEL', amounts, id)
  call('ZREM', holds, id)
  call('HINCRBY', spent, 'held', string.format('%.0f', 0 - tonumber(amount)))
end

local function hold(id, amount)
  if call('HSETNX', amounts, id, amount) == 1 then call('HINCRBY', spent, 'held', amount) end
  call('ZADD', holds, time + settings.lease, id)
end

local function expire()
  for _, id in ipairs(call('ZRANGEBYSCORE', holds, '-inf', time)) do drop(id) end
end

local operations = {}

function operations.reserve()
  if call('HEXISTS', spent, loaded) == 0 then return { -1 } end
  expire()
  local amount, dayLimit, monthLimit = tonumber(ARGV[6]), tonumber(ARGV[7]), tonumber(ARGV[8])
  local with = numberAt('held') + amount
  if dayLimit >= 0 and numberAt(day) + with > dayLimit then return { 0, 1 } end
  if monthLimit >= 0 and numberAt(month) + with > monthLimit then return { 0, 2 } end
  hold(ARGV[5], ARGV[6])
  return { 1 }
end

function operations.commit()
  drop(ARGV[5])
  call('HINCRBY', spent, month, ARGV[6])
  call('HINCRBY', spent, day, ARGV[6])
  return { 1 }
end

function operations.release()
  drop(ARGV[5])
  return { 1 }
end

function operations.renew()
  expire()
  for at = 5, #ARGV, 2 do hold(ARGV[at], ARGV[at + 1]) end
  for _, key in ipairs({ spent, holds, amounts }) do call('PEXPIRE', key, keptMs) end
  return { 1 }
end

function operations.load()
  if call('HSETNX', spent, loaded, 1) == 0 then return { 0 } end
  for _, field in ipairs(call('HKEYS', spent)) do
    if field ~= 'held' and not string.find(field, ARGV[3], 1, true) then call('HDEL', spent, field) end
  end
  call('HINCRBY', spent, month, ARGV[5])
  for at = 6, #ARGV, 2 do call('HINCRBY', spent, 'day:' .. ARGV[at], ARGV[at + 1]) end
  call('PEXPIRE', spent, keptMs)
  return { 1 }
end

function operations.look()
  expire()
  local answer = { call('HEXISTS', spent, loaded), call('HGET', spent, 'held') or '0' }
  local fields = call('HGETALL', spent)
  for at = 1, #fields, 2 do
    if string.find(fields[at], '^%a+:' .. ARGV[3]:gsub('%-', '%%-')) and fields[at] ~= loaded then
      answer[#answer + 1] = fields[at]
      answer[#answer + 1] = fields[at + 1]
    end
  end
  return answer
end

return operations[ARGV[1]]()
