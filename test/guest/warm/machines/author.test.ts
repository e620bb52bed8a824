import { copyFileSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { expect, test } from 'vitest'
import { image, launchVM, type VM } from 'withvm'
import { generateSshKeyPair } from '../../../../src/channel/ssh/keys.js'
import { resolveImage } from '../../../../src/image/resolve-image.js'
import { ownTmpdir } from '../../../support/own-tmpdir.js'
import { expectOwnIdentities, startTwoClones } from '../../../support/two-clones.js'

const options = { standby: false, log: () => {} } as const

test("clones run the author's kernel, and a copy of it at another path uses the same template", async () => {
  const { directBoot } = await resolveImage('tiny')
  const folder = ownTmpdir()
  const copy = (path: string, name: string) => {
    copyFileSync(path, join(folder, name))
    return join(folder, name)
  }
  const append = `${directBoot?.append.join(' ')} withvm.mark=1`
  const boot = (name: string) => ({
    kernel: copy(directBoot?.kernel as string, `kernel-${name}`),
    initrd: copy(directBoot?.initrd as string, `initrd-${name}`),
    append,
  })
  await using clones = await startTwoClones({ image: 'tiny', ...boot('one') })
  await expectOwnIdentities(clones)
  expect((await clones[0].exec('cat /proc/cmdline')).stdout).toContain('withvm.mark=1')
  await using other = await launchVM({ ...options, image: 'tiny', ...boot('two') })
  expect(other.startedFrom).toEqual({ ...clones[1].startedFrom, buildMs: undefined })
})

test("clones accept the author's own login", async () => {
  const { privateKey, publicKey } = generateSshKeyPair()
  const prepared = image('tiny').prepare(
    async (vm) => {
      await vm.exec(
        `mkdir -p /home/user/.ssh; echo "$KEY" | tee /home/user/.ssh/authorized_keys /root/.ssh/authorized_keys; chown -R 1000:1000 /home/user/.ssh`,
        { env: { KEY: publicKey } },
      )
    },
    { inputs: [publicKey] },
  )
  await using clones = await startTwoClones({ image: prepared, ready: 'agent', ssh: { privateKey } })
  await expectOwnIdentities(clones)
  for (const vm of clones) expect((await vm.ssh`id -un`).stdout).toBe('root')
  expect((await clones[0].ssh('id -un', { user: 'user' })).stdout).toBe('user')
})

test('a guest without SSH is cloned, and a login on the console is that of the template', async () => {
  await using clones = await startTwoClones({ login: { user: 'root' }, ssh: false })
  await expectOwnIdentities(clones)
  for (const vm of clones) {
    const from = vm.serial.mark()
    await vm.serial.type('echo "it is $(hostname)"\n')
    await vm.serial.waitFor(`it is ${vm.name}`, { from })
  }
})

test('a function as `ready` is called for the template, which is saved when it resolves', async () => {
  const guests: string[] = []
  const ready = async (vm: VM) => {
    guests.push(vm.name)
    await vm.waitFor.file('/run/withvm/identity-agent.pid')
  }
  await using clones = await startTwoClones({ ready, hostfwd: [{ guest: 80 }] })
  await expectOwnIdentities(clones)
  expect(guests).not.toContain('two') // the template may exist from an earlier run
})

test('a template is saved when the console shows the pattern of `ready`', async () => {
  await using clones = await startTwoClones({ ready: /withvm: network \S+/, ssh: false })
  await expectOwnIdentities(clones)
  for (const vm of clones) expect(vm.serial.text).toContain('withvm: network 10.0.2.15')
})

test('a guest that is ready before its init system has started boots cold, with the reason', async () => {
  const lines: string[] = []
  const early = { ...options, ready: /Linux version/, append: 'loglevel=7', ssh: false } as const
  await using vm = await launchVM({ ...early, log: (line) => lines.push(line) })
  expect(vm.startedFrom).toMatchObject({ kind: 'cold', reason: expect.stringContaining('observe the boot') })
  expect(lines.join('\n')).toContain("Fix: Set `start: 'cold'` for tests that observe the boot.")
})

test('a `guestfwd` handler of each clone serves its connections', async () => {
  const start = (answer: string) =>
    launchVM({
      ...options,
      network: { guestfwd: [{ address: '10.0.2.100:7', handler: (socket) => socket.end(`${answer}\n`) }] },
    })
  await using one = await start('one')
  await using two = await start('two')
  expect([one, two].map((vm) => vm.startedFrom.kind)).toEqual(['template', 'template'])
  for (const [vm, answer] of [
    [one, 'one'],
    [two, 'two'],
  ] as const)
    expect((await vm.ssh`nc 10.0.2.100 7 </dev/null`).stdout).toBe(answer)
})

test("`qemuArgs` start warm with `start: 'warm'`, and cold otherwise, with the reason and a fix", async () => {
  const qemuArgs = ['-device', 'virtio-balloon-pci,id=extra']
  await using clones = await startTwoClones({ start: 'warm', qemuArgs })
  await expectOwnIdentities(clones)
  const lines: string[] = []
  await using vm = await launchVM({ ...options, qemuArgs, log: (line) => lines.push(line) })
  expect(vm.startedFrom.kind).toBe('cold')
  expect(lines).toEqual([
    `'${vm.id}' is booted cold: \`qemuArgs\` may name files and devices that guests cannot share. Fix: Set \`start: 'warm'\` if several guests can use these arguments, and none names a file that changes.`,
  ])
})

test('a device whose state cannot be saved is reported before the guest boots for a template', async () => {
  const lines: string[] = []
  await using vm = await launchVM({
    ...options,
    disks: [{ size: '4M', interface: 'nvme' }],
    log: (line) => lines.push(line),
  })
  expect(vm.startedFrom).toMatchObject({ kind: 'cold', reason: expect.stringContaining('nvme') })
  expect(lines.join('\n')).toMatch(/is booted cold: .*nvme.* All guests of this kind are booted cold\. Fix: /)
})

test('a preparation that changes a medium runs in each guest, which boots cold', async () => {
  const medium = join(ownTmpdir(), 'cd.iso')
  writeFileSync(medium, Buffer.alloc(1024 ** 2, 'm'))
  const prepared = image('tiny').prepare((vm) => vm.media.insert('cdrom', medium), { inputs: [medium] })
  await using vm = await launchVM({ ...options, image: prepared, cpus: 2, disks: [{ media: 'cdrom' }] })
  expect(vm.startedFrom).toMatchObject({ kind: 'cold', reason: expect.stringContaining('changed a medium') })
  const [drive] = (await vm.qmp.execute('query-block')).filter(({ qdev }) => qdev?.includes('medium'))
  expect(drive?.inserted?.file).toBe(medium)
})
