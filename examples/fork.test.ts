import { expect, test } from 'vitest'
import { forkAll, launchVM, withVM } from 'withvm'

test('children of a fork continue from the state of their parent, each in its own way', async () => {
  // #region fork
  await withVM({ image: 'tiny' }, async (vm) => {
    await vm.ssh`echo 41 >/tmp/counter` // stands for a state that took long to reach
    const [left, right] = await vm.fork(2)
    await left.ssh`echo 42 >/tmp/counter`
    await right.ssh`rm /tmp/counter`
    expect((await left.ssh`cat /tmp/counter`).stdout).toBe('42')
    expect((await vm.ssh`cat /tmp/counter`).stdout).toBe('41')
  })
  // #endregion
})

test('several guests are forked at the same moment', async () => {
  await using client = await launchVM({ image: 'tiny', name: 'client' })
  await using server = await launchVM({ image: 'tiny', name: 'server' })
  await server.ssh`echo ready >/tmp/state`
  // #region fork-all
  await using children = await forkAll([client, server])
  const [client2, server2] = children
  await server2.powerCut() // the parents do not notice
  // #endregion
  expect(client2.isRunning).toBe(true)
  expect((await server.ssh`cat /tmp/state`).stdout).toBe('ready')
})
