import { execFileSync } from 'node:child_process'
import { join } from 'node:path'
import { expect, test } from 'vitest'
import { launchVM, type VM } from 'withvm'
import { resolveImage } from '../../../../src/image/resolve-image.js'
import { qemuImg } from '../../../support/disk-images.js'
import { ownTemplates } from '../../../support/own-templates.js'
import { ownTmpdir } from '../../../support/own-tmpdir.js'

const env = { ...process.env, PATH: `${process.env.PATH}:/usr/sbin:/sbin` }

/** Returns the options for a busybox system with dropbear: the disk of `tiny`, with or without its identity agent. */
async function busyboxSystem({ hasAgent }: { readonly hasAgent: boolean }) {
  const { disk, directBoot } = await resolveImage('tiny')
  if (disk === undefined || directBoot === undefined) throw new Error('tiny has a disk and a kernel')
  const image = join(ownTmpdir(), 'busybox.img')
  qemuImg('convert', '-O', 'raw', disk.path, image)
  if (!hasAgent)
    execFileSync('debugfs', ['-w', '-R', 'rm /usr/lib/withvm/identity-agent', image], { env, stdio: 'pipe' })
  const { kernel, initrd, append } = directBoot
  return { image, kernel, initrd, append, standby: false, log: () => {} } as const
}

const FACTS = {
  hostname: 'hostname',
  hostnameFile: 'cat /etc/hostname',
  hostKey: 'dropbearkey -y -f /etc/dropbear/dropbear_ed25519_host_key | grep ssh-ed25519',
  authorizedKey: 'grep ssh-ed25519 /root/.ssh/authorized_keys',
  random: 'head -c 16 /dev/urandom | xxd -p',
}

type Fact = keyof typeof FACTS

async function identify(vm: VM, facts: readonly Fact[]): Promise<Record<string, string>> {
  const found: Record<string, string> = {}
  for (const fact of facts) found[fact] = (await vm.exec(FACTS[fact])).stdout
  return found
}

async function expectOwnIdentities(one: VM, two: VM, facts: readonly Fact[]): Promise<void> {
  const [ofOne, ofTwo] = [await identify(one, facts), await identify(two, facts)]
  for (const fact of facts) {
    expect(ofOne[fact], fact).toMatch(/./)
    expect(ofOne[fact], fact).not.toBe(ofTwo[fact])
  }
  expect([ofOne.hostname, ofTwo.hostname]).toEqual(['one', 'two'])
  const { stdout } = await two.exec('date +%s')
  expect(Math.abs(Number(stdout) * 1000 - Date.now())).toBeLessThan(5000)
}

test('clones of a copy of tiny, which contains an identity agent, have their own identities', async () => {
  ownTemplates()
  const options = await busyboxSystem({ hasAgent: true })
  await using one = await launchVM({ ...options, name: 'one' })
  await using two = await launchVM({ ...options, name: 'two' })
  expect(one.startedFrom.kind).toBe('template')
  expect(two.startedFrom).toMatchObject({ kind: 'template', buildMs: undefined })
  await expectOwnIdentities(one, two, Object.keys(FACTS) as Fact[])
  // The agent and its folder are gone from the file systems.
  expect((await two.ssh`ls -d /dev/withvm || grep -c withvm /proc/mounts || true`).stdout).toBe('0')
  // The names and keys of a clone are on its disk.
  await two.powerCut()
  await two.start()
  expect((await two.ssh`cat /etc/hostname`).stdout).toBe('two')
}, 400_000)

test('clones of a guest that only its serial console reaches have their own identities', async () => {
  ownTemplates()
  const options = {
    ...(await busyboxSystem({ hasAgent: false })),
    ssh: false,
    login: { user: 'root' },
  } as const
  await using one = await launchVM({ ...options, name: 'one' })
  await using two = await launchVM({ ...options, name: 'two' })
  expect(one.startedFrom.kind).toBe('template')
  expect(two.startedFrom).toMatchObject({ kind: 'template', buildMs: undefined })
  await expectOwnIdentities(one, two, ['hostname', 'hostnameFile', 'random'])
}, 400_000)

test('clones of a guest that only its guest agent reaches have their own identities', async () => {
  ownTemplates()
  const options = { ...(await busyboxSystem({ hasAgent: true })), ssh: false, ready: 'agent' } as const
  await using one = await launchVM({ ...options, name: 'one' })
  await using two = await launchVM({ ...options, name: 'two' })
  expect(one.startedFrom.kind).toBe('template')
  expect(two.startedFrom).toMatchObject({ kind: 'template', buildMs: undefined })
  await expectOwnIdentities(one, two, ['hostname', 'hostnameFile', 'hostKey', 'random'])
}, 400_000)
