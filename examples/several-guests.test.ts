import { expect, test } from 'vitest'
import { launchVMs } from 'withvm'

test('one guest reaches a server in another', async () => {
  // #region guests
  await using vms = await launchVMs([
    { name: 'server', hostfwd: [{ guest: 80 }] },
    { name: 'client', network: { internet: true } },
  ])
  const [server, client] = vms
  await server.ssh`httpd -h /etc`
  // To a guest 10.0.2.2 is this host, a port of which leads to the server.
  const { stdout } = await client.ssh`wget -qO- http://10.0.2.2:${server.hostPort(80)}/hostname`
  expect(stdout).toBe('tiny')
  // #endregion
})
