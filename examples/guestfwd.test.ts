import { createServer } from 'node:http'
import { withVM } from 'withvm'
import { expect, test } from 'withvm/vitest'

test('a guest in a closed network reaches an HTTP server of the test through `guestfwd`', async () => {
  // #region guestfwd
  const updates = createServer((request, response) => response.end(`nothing new at ${request.url}\n`))
  const handler = (connection: object) => updates.emit('connection', connection)
  await withVM({ network: { guestfwd: [{ address: '10.0.2.100:80', handler }] } }, async (vm) => {
    await expect(vm.ssh`wget -qO- http://10.0.2.100/v2`).toPrint('nothing new at /v2')
  })
  // #endregion
})
