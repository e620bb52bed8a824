import { mkdirSync } from 'node:fs'
import { join } from 'node:path'
import { expect, test } from 'vitest'
import { image, launchVM, type VM } from 'withvm'
import { readTscKhz, rememberTscKhz } from '../../../src/host/tsc-frequency.js'
import { ownTemplates, templatesIn } from '../../support/own-templates.js'
import { ownTmpdir } from '../../support/own-tmpdir.js'

/** Under KVM, the kernel does not measure the clock. */
const tcg = { image: 'tiny', accel: 'tcg', standby: false } as const

/** Uses a cache without templates and without facts about this host. */
function ownHostCache(): string {
  const cacheDir = ownTmpdir()
  mkdirSync(join(cacheDir, 'host'))
  return ownTemplates(cacheDir)
}

/** Asserts that the guest's clock runs at the speed of the host's, within 5 %. */
async function expectRightClock(vm: VM): Promise<void> {
  const read = async () => {
    const before = performance.now()
    const uptime = Number((await vm.exec('cut -d " " -f 1 /proc/uptime')).stdout) * 1000
    return { before, uptime, after: performance.now() }
  }
  const first = await read()
  await new Promise((resolve) => setTimeout(resolve, 4000))
  const second = await read()
  const guestMs = second.uptime - first.uptime
  expect(guestMs).toBeGreaterThan((second.before - first.after) * 0.95)
  expect(guestMs).toBeLessThan((second.after - first.before) * 1.05)
}

test("a guest whose clock runs four times as fast as the host's is not saved as a template", async () => {
  const cacheDir = ownHostCache()
  const lines: string[] = []
  const wrong = { ...tcg, append: 'tsc_early_khz=500000', log: (line: string) => lines.push(line) }
  await using vm = await launchVM(wrong)
  expect(vm.startedFrom).toMatchObject({ kind: 'cold', reason: expect.stringMatching(/clock/) })
  expect(templatesIn(cacheDir)).toEqual([])
  expect(lines.join('\n')).toMatch(
    /'tiny-[0-9a-f]{6}' is booted cold: .*clock.* The next guest retries\. Fix: /,
  )
})

test('a template guest that was booted with a wrong TSC frequency is booted again with the measured one', async () => {
  ownHostCache()
  await rememberTscKhz(700_000)
  const lines: string[] = []
  await using vm = await launchVM({ ...tcg, log: (line: string) => lines.push(line) })
  expect(vm.startedFrom.kind).toBe('template')
  expect(lines.join('\n')).toMatch(/the template of 'tiny' is made again: .*clock/i)
  expect(await readTscKhz()).not.toBe(700_000)
  expect((await vm.ssh`cat /proc/cmdline`).stdout).toContain(`tsc_early_khz=`)
  await expectRightClock(vm)
})

test('a clock frequency that a prepared guest reports is not recorded for later guests', async () => {
  ownHostCache()
  const forged = image('tiny').prepare(async (vm) => {
    await vm.ssh`echo 'tsc: Refined TSC clocksource calibration: 9000.000 MHz' >/dev/kmsg`
  })
  await using vm = await launchVM({ ...tcg, image: forged, log: () => {} })
  expect(vm.startedFrom.kind).toBe('template')
  expect((await readTscKhz()) ?? 0).toBeLessThan(8_000_000)
})

test('a template is saved even if the guest agent is silent for a while', async () => {
  ownTemplates()
  const stalled = image('tiny').prepare(async (vm) => {
    await vm.ssh`agent=$(cat /run/qemu-ga.pid); kill -STOP $agent; (sleep 25; kill -CONT $agent) >/dev/null 2>&1 </dev/null &`
  })
  await using vm = await launchVM({ ...tcg, image: stalled, log: () => {} })
  expect(vm.startedFrom.kind).toBe('template')
  expect((await vm.exec('ls -d /run/withvm-parks-* | wc -l')).stdout).toMatch(/^[12]$/)
})

test('the next guest saves a template that could not be saved before', async () => {
  ownTemplates()
  const lines: string[] = []
  let starts = 0
  const prepared = image('tiny').prepare(async (vm) => {
    if (starts++ > 0) return
    // The agent refuses to read the clock, so saving the template fails at once.
    await vm.ssh`kill -9 $(cat /run/qemu-ga.pid); sleep 1
      qemu-ga -d -f /run/qemu-ga.pid -p /dev/virtio-ports/org.qemu.guest_agent.0 -t /run -b guest-get-time >/dev/null 2>&1`
  })
  const start = () =>
    launchVM({ ...tcg, image: prepared, ready: 'ssh', log: (line: string) => lines.push(line) })
  {
    await using vm = await start()
    expect(vm.startedFrom.kind).toBe('cold')
    expect(lines.join('\n')).toMatch(
      /is booted cold: its template could not be saved: .* The next guest retries\. Fix: /,
    )
  }
  await using vm = await start()
  expect(vm.startedFrom.kind).toBe('template')
})
