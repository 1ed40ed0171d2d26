-- What step and digest have in common, and what due.lua says of many at once: whether a receipt or a look at the inbox
-- makes something unnecessary. `unless`: acked, read, or "" (nothing does); `offset`: in the inbox, 0 for none. What was
-- read is no longer among the unread, though it still lies in the inbox.

local function unnecessary(inbox, meta, unread, unless, offset)
  if unless == '' or offset == 0 then return false end
  local member, id = string.format('%.0f', offset), string.format('%.0f-0', offset)
  if not redis.call('ZSCORE', unread, member) and #redis.call('XRANGE', inbox, id, id) == 1 then return true end
  if unless == 'read' then return false end
  for low, high in string.gmatch(redis.call('HGET', meta, 'acked') or '', '(%d+)%-(%d+)') do
    if offset >= tonumber(low) and offset <= tonumber(high) then return true end
  end
  return false
end
