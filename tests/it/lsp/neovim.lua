-- Works on ./Corefile with `nameplate lsp`: waits for a mistake, asks about words, applies the correction, writes.
local buffer = vim.api.nvim_get_current_buf()
local client = vim.lsp.start_client({
  name = 'nameplate',
  cmd = { vim.env.NAMEPLATE, 'lsp' },
  root_dir = vim.fn.getcwd(),
})
vim.lsp.buf_attach_client(buffer, client)

local function fail(why)
  io.stderr:write(why .. '\n')
  vim.cmd('cquit')
end

local function ask(method, params)
  local answers = vim.lsp.buf_request_sync(buffer, method, params, 10000)
  local answer = answers and answers[client]
  if not answer or answer.err then
    fail(method .. ': ' .. vim.inspect(answers))
  end
  return answer.result
end

if not vim.wait(10000, function() return #vim.diagnostic.get(buffer) > 0 end) then
  fail('no mistake is shown')
end
local mistake = vim.diagnostic.get(buffer)[1]
io.stderr:write(vim.inspect(mistake.user_data or mistake.code) .. ' ' .. mistake.message .. '\n')

local document = { uri = vim.uri_from_bufnr(buffer) }
local range = { start = { line = 1, character = 4 }, ['end'] = { line = 1, character = 10 } }
local actions = ask('textDocument/codeAction', {
  textDocument = document,
  range = range,
  context = { diagnostics = {}, only = { 'quickfix' } },
})
vim.lsp.util.apply_workspace_edit(actions[1].edit, 'utf-16')
if not vim.wait(10000, function() return #vim.diagnostic.get(buffer) == 0 end) then
  fail('the mistake stays')
end

local position = { line = 1, character = 6 }
local hover = ask('textDocument/hover', { textDocument = document, position = position })
io.stderr:write(hover.contents.value .. '\n')
for _, item in ipairs(ask('textDocument/completion', { textDocument = document, position = position }).items) do
  io.stderr:write('completes ' .. item.label .. '\n')
end
vim.cmd('write')
vim.cmd('quitall')
