import { expect, test } from 'vitest'
import { launchVM, type VM } from 'withvm'

const GIVEN = '52:54:00:00:00:02'
const options = { image: 'tiny', standby: false, log: () => {} } as const

test('clones with a card on a hub have MAC addresses of their own, and reach each other', async () => {
  await using one = await launchVM({ ...options, network: [{}, { hub: 'lan' }] })
  await using two = await launchVM({ ...options, network: [{}, { hub: 'lan', mac: GIVEN }] })
  await using other = await launchVM({ ...options, network: [{}, { hub: 'other' }] })
  const all = [one, two, other]
  const template = { kind: 'template', template: expect.any(String) }
  for (const vm of all) expect(vm.startedFrom).toMatchObject(template)
  const readMac = async (vm: VM) => (await vm.ssh`cat /sys/class/net/eth1/address`).stdout
  const macs = await Promise.all(all.map(readMac))
  expect(new Set(macs).size).toBe(3)
  expect(macs[1]).toBe(GIVEN)
  for (const [index, vm] of all.entries())
    await vm.ssh`ip addr add 192.168.7.${index + 1}/24 dev eth1 && ip link set eth1 up`
  const ping = (from: VM, number: number) =>
    from.ssh(`ping -c 1 -W 10 192.168.7.${number}`, { reject: false })
  expect((await ping(one, 2)).exitCode).toBe(0)
  expect((await ping(two, 1)).exitCode).toBe(0)
  expect((await ping(one, 3)).exitCode).toBe(1)
  expect((await one.ssh`ip neigh show 192.168.7.2`).stdout).toContain(GIVEN)
  // Its address survives a power cut.
  await two.powerCut()
  await two.start()
  expect(await readMac(two)).toBe(GIVEN)
})
