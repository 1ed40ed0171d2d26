-- What a person's trail says of one event.
--
-- KEYS  1 trail
-- ARGV  1 escaped event reference, 2 read from this entry back ("+", or "(" and the last entry looked at), 3 most
--       entries looked at
-- Returns  {the last entry looked at, or "" when there are no more, {id, {field, value, …}}, …}, newest first
-- Atomic because nothing: it only keeps what nobody asked for from travelling.
local out = {''}
local entries = redis.call('XREVRANGE', KEYS[1], ARGV[2], '-', 'COUNT', ARGV[3])
for _, entry in ipairs(entries) do
  for i = 1, #entry[2], 2 do
    if entry[2][i] == 'e' and entry[2][i + 1] == ARGV[1] then out[#out + 1] = entry end
  end
end
if #entries == tonumber(ARGV[3]) then out[1] = entries[#entries][1] end
return out
