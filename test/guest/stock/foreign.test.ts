import { join } from 'node:path'
import { beforeAll, expect, test } from 'vitest'
import { launchVM, type VM } from 'withvm'
import { resolveImage } from '../../../src/image/resolve-image.js'
import { qemuImg } from '../../support/disk-images.js'
import { ownTmpdir } from '../../support/own-tmpdir.js'
import { cloudImage, LONG_MS } from '../../support/stock-images.js'

let cloud: Awaited<ReturnType<typeof cloudImage>>

beforeAll(async () => {
  cloud = await cloudImage()
}, LONG_MS)

const FACTS = {
  hostname: 'hostname',
  hostnameFile: 'cat /etc/hostname',
  machineId: 'cat /etc/machine-id',
  hostKey: 'cat /etc/ssh/ssh_host_ed25519_key',
  publicHostKey: 'cat /etc/ssh/ssh_host_*_key.pub',
  authorizedKey: 'grep ssh-ed25519 /root/.ssh/authorized_keys',
  random: 'head -c 16 /dev/urandom | od -A n -t x1',
}

async function identify(vm: VM): Promise<Record<string, string>> {
  const found: Record<string, string> = {}
  for (const [name, command] of Object.entries(FACTS)) found[name] = (await vm.ssh(command)).stdout
  return found
}

test(
  'clones of a cloud-init image are in the state running, and each has its own identity',
  async () => {
    const { kernel, initrd, append } = cloud
    const { disk } = await resolveImage(cloud.image)
    // QEMU cannot save guests with vmdk images.
    const image = join(ownTmpdir(), 'cloud.qcow2')
    qemuImg('convert', '-O', 'qcow2', disk?.path as string, image)
    const options = { image, kernel, initrd, append, memory: '512M', standby: false, log: () => {} } as const
    await using one = await launchVM({ ...options, name: 'one' })
    await using two = await launchVM({ ...options, name: 'two' })
    expect(one.startedFrom.kind).toBe('template')
    expect(two.startedFrom).toMatchObject({ kind: 'template', buildMs: undefined })
    const [ofOne, ofTwo] = [await identify(one), await identify(two)]
    for (const fact of Object.keys(FACTS)) {
      expect(ofOne[fact], fact).toMatch(/./)
      expect(ofOne[fact], fact).not.toBe(ofTwo[fact])
    }
    expect([ofOne.hostname, ofTwo.hostname]).toEqual(['one', 'two'])
    const { stdout } = await two.ssh`date +%s`
    expect(Math.abs(Number(stdout) * 1000 - Date.now())).toBeLessThan(5000)
    expect((await two.ssh`systemctl is-system-running`).stdout).toBe('running')
    expect((await two.ssh`ip -4 -brief addr show eth0`).stdout).toContain('10.0.2.15/24')
  },
  LONG_MS,
)
