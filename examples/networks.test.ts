import { readFile } from 'node:fs/promises'
import { join } from 'node:path'
import { launchVMs, withVM } from 'withvm'
import { expect, test } from 'withvm/vitest'

test('two guests reach each other through a hub', async () => {
  // #region private
  await using vms = await launchVMs([
    { name: 'server', network: [{}, { hub: 'lan', mac: '52:54:00:00:00:01' }] },
    { name: 'client', network: [{}, { hub: 'lan', mac: '52:54:00:00:00:02' }] },
  ])
  const [server, client] = vms
  // A hub has no DHCP server, so set the addresses. eth0 stays connected to the host, for SSH.
  await server.ssh`ip addr add 192.168.7.1/24 dev eth1 && ip link set eth1 up`
  await client.ssh`ip addr add 192.168.7.2/24 dev eth1 && ip link set eth1 up`
  await server.ssh`mkdir -p /srv && echo hello >/srv/index.html && httpd -h /srv`
  await expect(client.ssh`wget -qO- http://192.168.7.1`).toPrint('hello')
  // #endregion
  await expect(client.ssh`ip neigh show dev eth1`).toPrint('192.168.7.1 lladdr 52:54:00:00:00:01')
})

test('the packets of a guest are captured, and its link is unplugged', async () => {
  await withVM({ image: 'tiny' }, async (vm) => {
    // #region capture
    const file = join(vm.runFolder, 'packets.pcap')
    const capture = { 'qom-type': 'filter-dump', id: 'capture', netdev: 'net0', file }
    await vm.qmp.execute('object-add', capture)
    await vm.ssh`ping -c 1 10.0.2.2`
    await vm.qmp.execute('object-del', { id: 'capture' })
    const packets = await readFile(file) // in the format of Wireshark and tcpdump
    // #endregion
    expect(packets.readUInt32LE(0)).toBe(0xa1b2c3d4)
    const ping = Buffer.from([10, 0, 2, 15, 10, 0, 2, 2, 8]) // addresses and the type of an echo request
    expect(packets.includes(ping)).toBe(true)

    // #region link
    await vm.setLink(false) // SSH does not work now, the guest agent does
    await expect(vm.exec('cat /sys/class/net/eth0/carrier')).toPrint('0')
    await vm.setLink(true)
    await expect(vm.ssh`cat /sys/class/net/eth0/carrier`).toPrint('1')
    // #endregion
  })
})
