import { mkdirSync, readdirSync, readFileSync, rmSync, statSync, symlinkSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { afterAll, beforeAll, expect, test, vi } from 'vitest'
import { image, launchVM } from 'withvm'
import { buildCli, runCli } from '../support/built-cli.js'
import { failureOf } from '../support/failure-of.js'
import { listGuests, stopKeptGuests } from '../support/kept-guests.js'
import { findLeftovers, NOTHING } from '../support/leftovers.js'
import { makeOpenCache, makeOpenFolder } from '../support/open-cache.js'
import { runScript } from '../support/run-script.js'

const USER = 'nobody'
const isRoot = process.geteuid?.() === 0
const rootTest = test.runIf(isRoot)
const folder = makeOpenFolder()
const log = () => {}
const options = { runAs: USER, tmpdir: folder, standby: false, log } as const

beforeAll(async () => {
  if (!isRoot) return
  await buildCli()
  vi.stubEnv('WITHVM_CACHE', await makeOpenCache(folder))
})
afterAll(() => {
  vi.unstubAllEnvs()
  rmSync(folder, { recursive: true })
})

const statusOf = (pid: number) => readFileSync(`/proc/${pid}/status`, 'utf8')
/** Session of a process, and its controlling terminal (proc(5), `/proc/[pid]/stat`: fields 6 and 7). */
const sessionOf = (pid: number) => {
  const [, rest = ''] = /\) (.*)\n/.exec(readFileSync(`/proc/${pid}/stat`, 'utf8')) ?? []
  const [, , , session, terminal] = rest.split(' ').map(Number)
  return { session, terminal }
}
const { uid, gid } = { uid: 65_534, gid: 65_534 }
const RUNS_AS_USER = new RegExp(
  [
    `^Uid:(\\t${uid}){4}\nGid:(\\t${gid}){4}\n[\\s\\S]*^Groups:\\t${gid} \n`,
    '[\\s\\S]*^CapPrm:\t0+\n[\\s\\S]*^CapEff:\t0+\n[\\s\\S]*^CapAmb:\t0+\nNoNewPrivs:\t1$',
  ].join(''),
  'm',
)

test.runIf(!isRoot)('`runAs` is rejected if the user is not root', async () => {
  const error = await failureOf(launchVM(options))
  expect(error.message).toContain('runAs: expected it where root starts the guest')
})

rootTest(
  'with `runAs`, QEMU and the folder of the run belong to that user, without other groups or privileges',
  async () => {
    await using vm = await launchVM(options)
    expect(statusOf(vm.pid)).toMatch(RUNS_AS_USER)
    expect(sessionOf(vm.pid)).toEqual({ session: vm.pid, terminal: 0 })
    expect(vm.startedFrom.kind).toBe('template')
    expect((await vm.ssh`hostname`).stdout).toBe('tiny')
    const { mode, ...owner } = statSync(vm.runFolder)
    expect([mode & 0o777, owner.uid, owner.gid]).toEqual([0o700, uid, gid])
    for (const name of readdirSync(vm.runFolder)) {
      const expected = name === 'qemu.pid' ? 0 : uid
      expect(statSync(join(vm.runFolder, name)).uid, name).toBe(expected)
    }
    await vm.powerCut()
    await vm.start({ waitUntilReady: false })
    expect(statusOf(vm.pid)).toMatch(RUNS_AS_USER)
  },
)

rootTest(
  'with `runAs`, checkpoints, hot-plugged disks, media, screenshots and logs work as that user',
  async () => {
    const artifacts = join(folder, 'closed')
    mkdirSync(artifacts, { mode: 0o700 })
    const medium = join(folder, 'medium.iso')
    writeFileSync(medium, 'on the medium'.padEnd(64 * 1024))
    await using vm = await launchVM({
      ...options,
      hotplug: true,
      vga: 'std',
      disks: [{ media: 'cdrom', interface: 'scsi' }],
    })
    expect(vm.startedFrom.kind).toBe('template')
    await vm.checkpoint('before')
    await vm.ssh`touch /root/later`
    await vm.restore('before')
    expect((await vm.ssh('ls /root/later', { reject: false })).exitCode).toBe(1)
    await using disk = await vm.plug.disk({ size: '1M', serial: 'extra' })
    await vm.waitFor.file('/dev/vdb')
    expect(statSync(join(vm.runFolder, `${disk.id}.qcow2`)).uid).toBe(uid)
    await vm.media.insert(0, medium)
    await vm.ssh`modprobe -a virtio_scsi sr_mod`
    await vm.waitFor.file('/dev/sr0')
    expect((await vm.ssh('head -c 13 /dev/sr0')).stdout).toBe('on the medium')
    expect((await vm.screenshot()).subarray(1, 4).toString()).toBe('PNG')
    const saved = await vm.saveLogs(artifacts, { memory: true })
    expect(readdirSync(saved)).toEqual(expect.arrayContaining(['memory.elf', 'screenshot.png', 'serial.log']))
    writeFileSync(join(artifacts, 'secret.iso'), '')
    const error = await failureOf(vm.media.insert(0, join(artifacts, 'secret.iso')))
    expect(error.message).toContain(
      `secret.iso cannot be read: that user cannot enter the folder ${artifacts}`,
    )
  },
)

rootTest('with `runAs`, a prepared image starts from a template of that user', async () => {
  const prepared = image('tiny').prepare((vm) => vm.ssh`echo prepared >/root/step`)
  await using vm = await launchVM({ ...options, image: prepared })
  expect(vm.startedFrom.kind).toBe('template')
  expect((await vm.ssh`cat /root/step`).stdout).toBe('prepared')
})

rootTest('with `runAs`, the TPM emulator runs as that user', async () => {
  await using vm = await launchVM({ ...options, firmware: 'uefi', tpm: true, ssh: false, ready: 'none' })
  const helpers = readdirSync('/proc').filter((name) => {
    if (!/^\d+$/.test(name)) return false
    const args = readFileSync(`/proc/${name}/cmdline`, 'utf8').split('\0')
    return args[0]?.endsWith('swtpm') && args.some((arg) => arg.includes(vm.runFolder))
  })
  expect(helpers).toHaveLength(1)
  for (const pid of [vm.pid, Number(helpers[0])]) {
    expect(statusOf(pid)).toMatch(RUNS_AS_USER)
    expect(sessionOf(pid)).toEqual({ session: pid, terminal: 0 })
  }
})

rootTest('with `runAs`, files that the user cannot access are reported before the boot', async () => {
  const closed = join(folder, 'private')
  mkdirSync(closed, { mode: 0o700 })
  const image = join(closed, 'disk.img')
  const data = join(folder, 'data.img')
  for (const path of [image, data]) writeFileSync(path, Buffer.alloc(1024 ** 2))
  const disks = [{ image: data, format: 'raw', snapshot: false }] as const
  const error = await failureOf(launchVM({ ...options, image, disks, ssh: false }))
  expect(error.code).toBe('INVALID_OPTIONS')
  expect(error.message).toBe(`QEMU, running as the user 'nobody' of \`runAs\`, cannot access these files:
  - ${image} cannot be read: that user cannot enter the folder ${closed}
  - ${data} cannot be written to
Fix: Move those files to a folder that this user can enter, or grant access (\`chmod o+x ${closed} && chmod o+w ${data}\`).`)
  expect(findLeftovers(folder)).toEqual(NOTHING)
})

rootTest(
  'after SIGKILL of the test process, no QEMU of the `runAs` user is left, and the next run sweeps its files',
  async () => {
    const closed = join(folder, 'closed-cache')
    mkdirSync(closed, { mode: 0o700 })
    symlinkSync(join(process.env.WITHVM_CACHE ?? '', 'host'), join(closed, 'host'))
    const script = runScript(
      folder,
      `const vm = await launchVM({ runAs: '${USER}', standby: false })
      console.log(vm.pid + ' ' + vm.startedFrom.reason)
      await vm.wait()`,
      'killed',
      { WITHVM_CACHE: closed, WITHVM_SHARED_CACHE: process.env.WITHVM_CACHE },
    )
    const output = String(await new Promise((resolve) => script.stdout?.once('data', resolve)))
    expect(statusOf(Number.parseInt(output, 10))).toMatch(RUNS_AS_USER)
    expect(output).toContain(`'nobody' of \`runAs\` cannot enter ${closed}, which contains the templates`)
    script.kill('SIGKILL')
    await script
    await expect.poll(() => findLeftovers(folder).processes, { timeout: 1000 }).toEqual([])
    expect(findLeftovers(folder).folders).toHaveLength(1)
    await runScript(folder, `await withVM({ image: false, ssh: false, ready: 'none' }, () => {})`)
    expect(findLeftovers(folder)).toEqual(NOTHING)
  },
)

rootTest('a kept guest of the `runAs` user is listed and stopped like any other guest', async () => {
  stopKeptGuests(folder)
  await runScript(
    folder,
    `await withVM({ runAs: '${USER}', keepOnFailure: '10m', standby: false }, () => { throw new Error('failed') }).catch(() => {})`,
  )
  const [guest] = await listGuests(folder)
  expect(statusOf(guest?.pid ?? 0)).toMatch(RUNS_AS_USER)
  await runCli(['stop', guest?.name ?? ''])
  await expect.poll(() => findLeftovers(folder), { timeout: 15_000 }).toEqual(NOTHING)
})
