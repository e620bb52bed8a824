import { expect, test } from 'vitest'
import { launchVM } from 'withvm'

test('one guest reaches a server in another', async () => {
  // #region guests
  await using server = await launchVM({ name: 'server', hostfwd: [{ guest: 80 }] })
  await using client = await launchVM({ name: 'client', network: { internet: true } })
  await server.ssh`httpd -h /etc`
  // To a guest 10.0.2.2 is this host, a port of which leads to the server.
  const { stdout } = await client.ssh`wget -qO- http://10.0.2.2:${server.hostPort(80)}/hostname`
  expect(stdout).toBe('tiny')
  // #endregion
})
