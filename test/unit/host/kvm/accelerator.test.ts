import { chmodSync, readdirSync, readFileSync, statSync, writeFileSync } from 'node:fs'
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

/** A QEMU of which nothing was ever found out, and that counts how often a guest was started with it. */
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

/** Becomes a user who may open nothing of root's, until the test ends. Does nothing when already somebody else. */
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

test('the first decision takes seconds at most, and every way to ask for it agrees', async () => {
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
      `guests run under TCG, much slower than under KVM: ${chosen.reason}. Fix: ${chosen.fix}`,
    ])
    await expect(decide(found, 'kvm')).rejects.toMatchObject({
      code: 'ACCELERATOR_UNAVAILABLE',
      message: `accel: 'kvm' was asked for, but KVM cannot run guests here.
  Got:      ${chosen.reason}
Fix: ${chosen.fix} Or leave accel at 'auto', which takes TCG where KVM does not work.`,
    })
  }
})

test('a decision is remembered: the second starts no probe, and announces nothing again', async () => {
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

test('those who ask at the same time share one probe', async () => {
  const found = await makeFreshQemu()
  const alone = await makeFreshQemu()
  await decide(alone)
  const chosen = await Promise.all([decide(found), decide(found), decide(found), decide(found)])
  expect(new Set(chosen.map(({ name }) => name)).size).toBe(1)
  expect(found.countProbes()).toBe(alone.countProbes())
})

test('what is remembered decides, whether it was right or not', async () => {
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

test('nonsense in the cache is ignored', async () => {
  const found = await makeFreshQemu()
  const cache = openHostCache(found.cacheDir)
  await cache.write(factName(found.qemu), { kvm: { works: 'yes' }, tcgLoopMs: -1 })
  expect((await decide(found, 'tcg')).name).toBe('tcg')
  expect(found.countProbes()).toBe(1)
  writeFileSync(join(found.cacheDir, 'host', `${factName(found.qemu)}.json`), '{"kvm":')
  expect((await decide(found, 'tcg')).name).toBe('tcg')
  expect(found.countProbes()).toBe(2)
})

test('after a guest failed under KVM, later ones run under TCG with the reason', async () => {
  const found = await makeFreshQemu()
  const cache = openHostCache(found.cacheDir)
  await cache.write(factName(found.qemu), { kvm: { works: true, loopMs: 0.3 }, tcgLoopMs: 3 })
  await forgetKvm('KVM internal error. Suberror: 1', found)
  const chosen = await decide(found)
  expect(chosen.name).toBe('tcg')
  if ((await findKvmObstacle({ cache })) === undefined) {
    expect(chosen).toMatchObject({
      reason: 'a guest failed under it: KVM internal error. Suberror: 1',
      fix: 'Run `npx withvm doctor --fresh` to try KVM again.',
    })
  }
  expect(found.countProbes()).toBe(0)
})

test('TCG that is asked for starts no probe under KVM and has no reason', async () => {
  const found = await makeFreshQemu()
  const chosen = await decide(found, 'tcg')
  expect(chosen).toEqual({ name: 'tcg', timeFactor: expect.any(Number) })
  expect(found.countProbes()).toBe(1)
  expect(readFact(found.cacheDir, found.qemu)).not.toContain('kvm')
})

test('a QEMU without any accelerator for this host is an error that names both', async () => {
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

test('a decision about a QEMU that hangs does not wait for it', async () => {
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

test('a user who may not open the device gets the command that changes it, and waits for udev once', async () => {
  const dir = makeTemporaryDir()
  const cache = openHostCache(dir)
  const devicePath = join(dir, 'kvm')
  writeFileSync(devicePath, '')
  chmodSync(devicePath, 0o000)
  becomeNobody()
  const begin = performance.now()
  const obstacle = await findKvmObstacle({ devicePath, cache })
  expect(performance.now() - begin).toBeGreaterThanOrEqual(290)
  expect(obstacle?.reason).toMatch(/may not (open|use) .*kvm \(EACCES\)$/)
  expect(obstacle?.fix).toMatch(/chgrp kvm|--device/)
  const again = performance.now()
  expect(await findKvmObstacle({ devicePath, cache })).toEqual(obstacle)
  expect(performance.now() - again).toBeLessThan(290)
})

test('a device whose permission comes back within the wait for udev is used', async () => {
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

test('without permission for /dev/kvm a guest runs under TCG, and the reason says why', async () => {
  const found = await makeFreshQemu()
  chmodSync(join(found.cacheDir, 'host'), 0o777)
  becomeNobody()
  const chosen = await decide(found)
  expect(chosen.name === 'kvm' || chosen.reason).toBeTruthy()
  if (chosen.reason?.includes('EACCES')) {
    await expect(decide(found, 'kvm')).rejects.toThrow(/may not (open|use) \/dev\/kvm \(EACCES\)/)
  }
})

test.runIf(process.geteuid?.() === 0)(
  'a device that another user may not open is no device for QEMU as that user',
  async () => {
    const dir = makeTemporaryDir()
    chmodSync(dir, 0o755)
    const devicePath = join(dir, 'kvm')
    const user = await findHostUser('nobody')
    if (!('uid' in user)) throw new Error(user.got)
    const look = () => findKvmObstacle({ devicePath, cache: openHostCache(dir), user })
    writeFileSync(devicePath, '', { mode: 0o600 })
    expect((await look())?.reason).toBe(`the user nobody may not open ${devicePath} (EACCES)`)
    chmodSync(devicePath, 0o666)
    expect(await look()).toBeUndefined()
  },
)

test('a host without the device is told what to switch on', async () => {
  const dir = makeTemporaryDir()
  const obstacle = await findKvmObstacle({ devicePath: join(dir, 'none'), cache: openHostCache(dir) })
  expect(obstacle?.reason).toContain(`there is no ${join(dir, 'none')}`)
  expect(obstacle?.fix).toMatch(/modprobe|nested virtualisation|firmware set-up|--device/)
  expect(readdirSync(dir)).toEqual([])
})

test.each([
  [0.1, 1, 1],
  [0.27, 1, 1],
  [2.7, 1, 10],
  [2.7, 2.5, 25],
  [2.7, 100, 60],
  [900, 1, 60],
])('a loop of %d ms under load %d makes things take %d times longer', (loopMs, load, factor) => {
  expect(resolveTimeFactor(loopMs, load)).toBe(factor)
})

test('the load counts from where there is more work than processors', () => {
  expect(readLoadFactor(0.3, 2)).toBe(1)
  expect(readLoadFactor(2, 2)).toBe(1)
  expect(readLoadFactor(6, 2)).toBe(3)
  expect(readLoadFactor()).toBeGreaterThanOrEqual(1)
})

test('a guest of another architecture is emulated, which is no news; KVM is refused for it', async () => {
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
    message: expect.stringContaining("this host's own architecture"),
  })
})
