import { chmodSync, chownSync, readdirSync, readFileSync, statSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { expect, onTestFinished, test } from 'vitest'
import { openHostCache } from '../../../../src/host/host-cache.js'
import { findHostUser } from '../../../../src/host/host-user.js'
import { chooseAccelerator, forgetKvm, resolveTimeFactor } from '../../../../src/host/kvm/accelerator.js'
import { factName } from '../../../../src/host/kvm/accelerator-facts.js'
import { findKvmObstacle } from '../../../../src/host/kvm/kvm-device.js'
import { readLoadFactor } from '../../../../src/host/load.js'
import { findQemu, type QemuBinary } from '../../../../src/host/qemu-binary.js'
import { hostArch } from '../../../../src/spec/architectures.js'
import { makeTemporaryDir, writeProgram } from '../fake-program.js'

/** Creates a QEMU without cached facts that counts its probes. */
async function makeFreshQemu(): Promise<{ qemu: QemuBinary; cacheDir: string; countProbes: () => number }> {
  const cacheDir = makeTemporaryDir()
  const real = (await findQemu({ cacheDir })).path
  const log = join(cacheDir, 'log')
  writeFileSync(log, '')
  chmodSync(log, 0o666)
  const wrapper = writeProgram(
    join(cacheDir, 'counting-qemu'),
    `case "$*" in *-bios*) echo probe >>${log};; esac; exec ${real} "$@"`,
  )
  const qemu = await findQemu({ cacheDir, qemu: wrapper })
  return { qemu, cacheDir, countProbes: () => readFileSync(log, 'utf8').split('\n').length - 1 }
}

async function decide(
  found: { qemu: QemuBinary; cacheDir: string },
  accel: 'auto' | 'kvm' | 'tcg' = 'auto',
  lines: string[] = [],
) {
  const notify = (line: string) => lines.push(line)
  return chooseAccelerator({ accel, qemu: found.qemu, cacheDir: found.cacheDir, notify })
}

function readFact(cacheDir: string, qemu: QemuBinary): string {
  return readFileSync(join(cacheDir, 'host', `${factName(qemu)}.json`), 'utf8')
}

/** Switches to the user nobody until the test ends, if the process runs as root. */
function becomeNobody(): void {
  if (process.geteuid?.() !== 0) return
  const groups = process.getgroups?.() ?? []
  process.setgroups?.([65_534])
  process.setegid?.(65_534)
  process.seteuid?.(65_534)
  onTestFinished(() => {
    process.seteuid?.(0)
    process.setegid?.(0)
    process.setgroups?.(groups)
  })
}

test('the first decision takes a few seconds at most, and `auto` and `kvm` agree', async () => {
  const found = await makeFreshQemu()
  const lines: string[] = []
  const begin = performance.now()
  const chosen = await decide(found, 'auto', lines)
  expect(performance.now() - begin).toBeLessThan(20_000)
  expect(chosen.timeFactor).toBeGreaterThanOrEqual(1)
  expect(chosen.timeFactor).toBeLessThanOrEqual(60)
  if (chosen.name === 'kvm') {
    expect(chosen.reason).toBeUndefined()
    expect(lines).toEqual([])
    expect((await decide(found, 'kvm')).name).toBe('kvm')
  } else {
    expect(chosen.reason).toBeTruthy()
    expect(lines).toEqual([
      `guests run with TCG, which is much slower than KVM: ${chosen.reason}. Fix: ${chosen.fix}`,
    ])
    await expect(decide(found, 'kvm')).rejects.toMatchObject({
      code: 'ACCELERATOR_UNAVAILABLE',
      message: `KVM cannot run guests on this host.
  Expected: a working KVM, as required by \`accel: 'kvm'\` or WITHVM_ACCEL=kvm
  Got:      ${chosen.reason}
Fix: ${chosen.fix} Alternatively, set \`accel: 'auto'\` to fall back to TCG.`,
    })
  }
})

test('a decision is cached: the second one runs no probe and logs no message', async () => {
  const found = await makeFreshQemu()
  const first = await decide(found)
  const probes = found.countProbes()
  expect(probes).toBeGreaterThan(0)
  const lines: string[] = []
  const second = await decide(found, 'auto', lines)
  expect(found.countProbes()).toBe(probes)
  expect([second.name, second.reason]).toEqual([first.name, first.reason])
  expect(lines).toEqual([])
})

test('concurrent decisions share one probe', async () => {
  const found = await makeFreshQemu()
  const alone = await makeFreshQemu()
  await decide(alone)
  const chosen = await Promise.all([decide(found), decide(found), decide(found), decide(found)])
  expect(new Set(chosen.map(({ name }) => name)).size).toBe(1)
  expect(found.countProbes()).toBe(alone.countProbes())
})

test('cached facts decide without a probe', async () => {
  const found = await makeFreshQemu()
  const cache = openHostCache(found.cacheDir)
  const obstacle = await findKvmObstacle({ cache })
  await cache.write(factName(found.qemu), { kvm: { works: true, loopMs: 0.54 }, tcgLoopMs: 5.4 })
  const chosen = await decide(found)
  if (obstacle === undefined) {
    expect(chosen).toEqual({ name: 'kvm', timeFactor: resolveTimeFactor(0.54) })
  } else {
    expect(chosen).toMatchObject({ name: 'tcg', reason: obstacle.reason })
  }
  expect(found.countProbes()).toBe(0)
})

test('invalid cache content is ignored', async () => {
  const found = await makeFreshQemu()
  const cache = openHostCache(found.cacheDir)
  await cache.write(factName(found.qemu), { kvm: { works: 'yes' }, tcgLoopMs: -1 })
  expect((await decide(found, 'tcg')).name).toBe('tcg')
  expect(found.countProbes()).toBe(1)
  writeFileSync(join(found.cacheDir, 'host', `${factName(found.qemu)}.json`), '{"kvm":')
  expect((await decide(found, 'tcg')).name).toBe('tcg')
  expect(found.countProbes()).toBe(2)
})

test('after a KVM failure of a guest, later guests of the process run under TCG with that reason', async () => {
  const found = await makeFreshQemu()
  const cache = openHostCache(found.cacheDir)
  await cache.write(factName(found.qemu), { kvm: { works: true, loopMs: 0.3 }, tcgLoopMs: 3 })
  await forgetKvm('KVM internal error. Suberror: 1', found)
  const chosen = await decide(found)
  expect(chosen.name).toBe('tcg')
  if ((await findKvmObstacle({ cache })) === undefined) {
    expect(chosen).toMatchObject({ reason: 'a guest failed under KVM: KVM internal error. Suberror: 1' })
  }
})

test('a KVM failure of a guest is not recorded for later runs: KVM is probed again', async () => {
  const found = await makeFreshQemu()
  await openHostCache(found.cacheDir).write(factName(found.qemu), {
    kvm: { works: true, loopMs: 0.3 },
    tcgLoopMs: 3,
  })
  await forgetKvm('KVM internal error. Suberror: 1', found)
  expect(found.countProbes()).toBeGreaterThan(0)
  expect(readFact(found.cacheDir, found.qemu)).not.toContain('a guest failed')
})

test("`accel: 'tcg'` does not probe KVM and has no reason", async () => {
  const found = await makeFreshQemu()
  const chosen = await decide(found, 'tcg')
  expect(chosen).toEqual({ name: 'tcg', timeFactor: expect.any(Number) })
  expect(found.countProbes()).toBe(1)
  expect(readFact(found.cacheDir, found.qemu)).not.toContain('kvm')
})

test('the error for a QEMU without accelerators names TCG and KVM', async () => {
  const dir = makeTemporaryDir()
  const qemu = await findQemu({
    cacheDir: dir,
    qemu: writeProgram(
      join(dir, 'bare-qemu'),
      `[ "$1" = --version ] && exec echo "QEMU emulator version 9.9.9"
for a; do [ "$last" = -accel ] && name=$a; last=$a; done
echo "qemu-system-x86_64: -accel $name: invalid accelerator $name" >&2; exit 1`,
    ),
  })
  await expect(decide({ qemu, cacheDir: dir })).rejects.toMatchObject({
    code: 'ACCELERATOR_UNAVAILABLE',
    message: expect.stringContaining('it is built without TCG, and KVM does not work.'),
  })
  await expect(decide({ qemu, cacheDir: dir }, 'tcg')).rejects.toThrow('it is built without TCG.')
})

test('the probe of a hanging QEMU times out and selects TCG', async () => {
  const dir = makeTemporaryDir()
  const qemu = await findQemu({
    cacheDir: dir,
    qemu: writeProgram(
      join(dir, 'hanging-qemu'),
      '[ "$1" = --version ] && exec echo "QEMU emulator version 9.9.9"; exec sleep 60',
    ),
  })
  const begin = performance.now()
  const chosen = await chooseAccelerator({ accel: 'auto', qemu, cacheDir: dir, notify: () => {} })
  expect(performance.now() - begin).toBeLessThan(20_000)
  expect(chosen).toMatchObject({ name: 'tcg', reason: expect.any(String) })
  expect(readFact(dir, qemu)).toBe('{}\n')
})

test('a denied device is reported with a fix, after one wait for udev', async () => {
  const dir = makeTemporaryDir()
  const cache = openHostCache(dir)
  const devicePath = join(dir, 'kvm')
  writeFileSync(devicePath, '')
  chmodSync(devicePath, 0o000)
  becomeNobody()
  const begin = performance.now()
  const obstacle = await findKvmObstacle({ devicePath, cache })
  expect(performance.now() - begin).toBeGreaterThanOrEqual(290)
  expect(obstacle?.reason).toMatch(/no (access|permission) to .*kvm \(EACCES\)$/)
  expect(obstacle?.fix).toMatch(/chgrp kvm/)
  const again = performance.now()
  expect(await findKvmObstacle({ devicePath, cache })).toEqual(obstacle)
  expect(performance.now() - again).toBeLessThan(290)
})

test('a device is used if udev restores its permissions during the wait', async () => {
  const dir = makeTemporaryDir()
  const devicePath = join(dir, 'kvm')
  writeFileSync(devicePath, '')
  chmodSync(devicePath, 0o000)
  const { uid } = statSync(devicePath)
  becomeNobody()
  const decision = findKvmObstacle({ devicePath, cache: openHostCache(dir) })
  setTimeout(() => {
    if (uid === 0) process.seteuid?.(0)
    chmodSync(devicePath, 0o666)
  }, 100)
  expect(await decision).toBeUndefined()
})

test('without access to /dev/kvm a guest runs under TCG with that reason', async () => {
  const found = await makeFreshQemu()
  chmodSync(join(found.cacheDir, 'host'), 0o777)
  becomeNobody()
  const chosen = await decide(found)
  expect(chosen.name === 'kvm' || chosen.reason).toBeTruthy()
  if (chosen.reason?.includes('EACCES')) {
    await expect(decide(found, 'kvm')).rejects.toThrow(/no (access|permission) to .*\/dev\/kvm \(EACCES\)/)
  }
})

test.runIf(process.geteuid?.() === 0)(
  'a device without permissions for the `runAs` user is an obstacle',
  async () => {
    const dir = makeTemporaryDir()
    chmodSync(dir, 0o755)
    const devicePath = join(dir, 'kvm')
    const user = await findHostUser('nobody')
    if (!('uid' in user)) throw new Error(user.got)
    const find = () => findKvmObstacle({ devicePath, cache: openHostCache(dir), user })
    writeFileSync(devicePath, '', { mode: 0o600 })
    expect((await find())?.reason).toBe(`the user nobody has no permission to open ${devicePath} (EACCES)`)
    chmodSync(devicePath, 0o666)
    expect(await find()).toBeUndefined()
  },
)

test.runIf(process.geteuid?.() === 0)(
  'in a container, a device that its user cannot open is fixed with the group of the device',
  async () => {
    const dir = makeTemporaryDir()
    const cache = openHostCache(dir)
    const add = (name: string, mode: number, gid: number) => {
      const devicePath = join(dir, name)
      writeFileSync(devicePath, '')
      chownSync(devicePath, 0, gid)
      chmodSync(devicePath, mode)
      return devicePath
    }
    const paths = [add('kvm', 0o660, 108), add('unmapped', 0o600, 65_534), add('closed', 0o600, 108)]
    becomeNobody()
    const [known, unmapped, closed] = await Promise.all(
      paths.map((devicePath) => findKvmObstacle({ devicePath, cache, isContainer: true })),
    )
    expect(known).toEqual({
      reason: `the user nobody of this container has no permission to open ${paths[0]} (EACCES)`,
      fix: 'Start the container with `--group-add 108`.',
    })
    expect(unmapped?.fix).toBe('Start the container with `--group-add keep-groups` (rootless Podman).')
    expect(closed?.fix).toMatch(
      /^Run `sudo chgrp kvm .*` on the host, then start the container with `--group-add`/,
    )
  },
)

test('a missing device is reported with what to enable', async () => {
  const dir = makeTemporaryDir()
  const obstacle = await findKvmObstacle({ devicePath: join(dir, 'none'), cache: openHostCache(dir) })
  expect(obstacle?.reason).toContain(`${join(dir, 'none')} does not exist`)
  expect(obstacle?.fix).toMatch(/modprobe|nested virtualization|firmware setup|--device/)
  expect(readdirSync(dir)).toEqual([])
})

test.each([
  [0.1, 1, 1],
  [0.27, 1, 1],
  [2.7, 1, 10],
  [2.7, 2.5, 25],
  [2.7, 100, 60],
  [900, 1, 60],
])('a loop of %d ms under load %d has the time factor %d', (loopMs, load, factor) => {
  expect(resolveTimeFactor(loopMs, load)).toBe(factor)
})

test('the load factor exceeds 1 only if the load exceeds the number of processors', () => {
  expect(readLoadFactor(0.3, 2)).toBe(1)
  expect(readLoadFactor(2, 2)).toBe(1)
  expect(readLoadFactor(6, 2)).toBe(3)
  expect(readLoadFactor()).toBeGreaterThanOrEqual(1)
})

test('a guest of another architecture runs under TCG without a message, and KVM is rejected for it', async () => {
  const cacheDir = makeTemporaryDir()
  const qemu = {
    ...(await findQemu({ cacheDir })),
    arch: hostArch() === 's390x' ? ('aarch64' as const) : ('s390x' as const),
  }
  const lines: string[] = []
  expect((await decide({ qemu, cacheDir }, 'auto', lines)).name).toBe('tcg')
  expect(lines).toEqual([])
  await expect(decide({ qemu, cacheDir }, 'kvm')).rejects.toMatchObject({
    code: 'ACCELERATOR_UNAVAILABLE',
    message: expect.stringContaining('KVM supports only guests of the host architecture'),
  })
})
