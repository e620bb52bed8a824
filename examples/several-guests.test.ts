import { expect, test } from 'vitest'
import { launchVMs } from 'withvm'

test('a guest reaches a server in another guest through a forwarded port', async () => {
  // #region guests
  await using vms = await launchVMs([
    { name: 'server', hostfwd: [{ guest: 80 }] },
    { name: 'client', network: { internet: true } },
  ])
  const [server, client] = vms
  await server.ssh`httpd -h /etc`
  // 10.0.2.2 is the host; its forwarded port leads to the server.
  const { stdout } = await client.ssh`wget -qO- http://10.0.2.2:${server.hostPort(80)}/hostname`
  expect(stdout).toBe('tiny')
  // #endregion
})
