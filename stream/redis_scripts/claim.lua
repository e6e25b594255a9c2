-- Gives {epoch, mark}; the epoch is 0 where the tenant has none and may not begin. ARGV[1]: may it.
if call('HEXISTS', head, 'e') == 0 then
  if ARGV[1] ~= '1' then return {0, '0'} end
  call('HSET', head, 'e', 0, 'm', 0, 't', '', 'n', 0, 's', 0, 'f', 1, 'r', 1, 'k', 1, 'u', 0)
end
return {call('HINCRBY', head, 'e', 1), call('HGET', head, 'm')}
