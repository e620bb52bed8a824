import { closeSync, openSync, truncateSync, writeFileSync, writeSync } from 'node:fs'
import { join } from 'node:path'
import { setTimeout as sleep } from 'node:timers/promises'
import { expect, test } from 'vitest'
import { DiskUse, useOf } from '../../../../src/vm/machine/disk-use.js'
import { ownTmpdir } from '../../../support/own-tmpdir.js'

const MIB = 1024 ** 2

/** Grows files like a guest, and reports writes beyond a threshold like QEMU: once per threshold. */
function monitorOf(files: Readonly<Record<string, string>>) {
  const thresholds = new Map<string, number>()
  let report: (event: { data: Record<string, unknown> }) => void = () => {}
  let reports = 0
  return {
    thresholds,
    report: (event: { data: Record<string, unknown> }) => report(event),
    get reports() {
      return reports
    },
    execute: async (_: string, args: object) => {
      const { 'node-name': node, 'write-threshold': threshold } = args as Record<string, unknown>
      thresholds.set(String(node), Number(threshold))
    },
    on: (_: string, listener: typeof report) => {
      report = listener
    },
    announce,
    write: (node: string, end: number) => {
      announce(node, end)
      truncateSync(files[node] as string, end)
    },
  }

  function announce(node: string, end: number): void {
    const threshold = thresholds.get(node) ?? Number.POSITIVE_INFINITY
    if (end <= threshold) return
    thresholds.delete(node)
    reports++
    report({ data: { 'node-name': node, 'write-threshold': threshold, 'amount-exceeded': end - threshold } })
  }
}

function watch(limitBytes: number, sizes: Readonly<Record<string, number>>) {
  const dir = ownTmpdir()
  const files = Object.fromEntries(Object.keys(sizes).map((node) => [node, join(dir, node)]))
  const use = new DiskUse(limitBytes)
  for (const [node, path] of Object.entries(files)) {
    writeFileSync(path, Buffer.alloc(sizes[node] as number))
    use.add({ node, path })
  }
  const monitor = monitorOf(files)
  let halts = 0
  use.watch(monitor as unknown as Parameters<DiskUse['watch']>[0], () => halts++)
  return { use, monitor, files, dir, isExceeded: () => halts > 0, halts: () => halts }
}

test('the limit applies to the sum of all disks, and few reports are needed', () => {
  const { monitor, isExceeded } = watch(100 * MIB, { a: 0, b: 0, c: 0 })
  for (let size = 0; size <= 40 * MIB; size += MIB / 4) monitor.write('a', size)
  for (let size = 0; size <= 40 * MIB; size += MIB / 4) monitor.write('b', size)
  expect(isExceeded()).toBe(false)
  let size = 0
  while (!isExceeded()) {
    size += MIB / 4
    monitor.write('c', size)
  }
  expect(size).toBeGreaterThan(19 * MIB)
  expect(size).toBeLessThanOrEqual(20.5 * MIB)
  expect(monitor.reports).toBeLessThan(60)
})

test('a guest that is resumed beyond the limit exceeds it again with its next writes', () => {
  const { monitor, halts } = watch(MIB, { a: 0 })
  monitor.write('a', 2 * MIB)
  expect(halts()).toBe(1)
  for (let size = 2 * MIB; size <= 2.25 * MIB; size += 4096) monitor.write('a', size)
  expect(halts()).toBeGreaterThan(1)
})

test.each([{ 'node-name': { toString: 0 } }, { 'write-threshold': { valueOf: 0, toString: 0 } }])(
  'a report with %j is ignored',
  (fields) => {
    const { monitor, isExceeded } = watch(10 * MIB, { a: 0 })
    const report = { 'node-name': 'a', 'write-threshold': 20 * MIB, 'amount-exceeded': 0 }
    monitor.report({ data: { ...report, ...fields } })
    expect(isExceeded()).toBe(false)
    monitor.report({ data: report })
    expect(isExceeded()).toBe(true)
  },
)

/** Writes to a file that consists of a hole, from the start, like a guest; writes beyond the threshold are reported. */
async function fillHole(limitBytes: number, atOnceBytes: number, maxBytes: number) {
  const path = join(ownTmpdir(), 'sparse')
  writeFileSync(path, '')
  truncateSync(path, 1024 * MIB)
  const monitor = monitorOf({ sparse: path })
  const use = new DiskUse(limitBytes)
  use.add({ path, node: 'sparse', base: useOf(path) })
  let isExceeded = false
  use.watch(monitor as unknown as Parameters<DiskUse['watch']>[0], () => {
    isExceeded = true
  })
  const file = openSync(path, 'r+')
  const piece = Buffer.alloc(atOnceBytes, 1)
  let at = 0
  for (; at < maxBytes && !isExceeded; at += piece.length) {
    monitor.announce('sparse', at + piece.length)
    writeSync(file, piece, 0, piece.length, at)
    await sleep(10)
  }
  await sleep(200)
  closeSync(file)
  return { isExceeded, bytes: at }
}

test('writes to the holes of a disk with `snapshot: false` count', async () => {
  const { isExceeded, bytes } = await fillHole(8 * MIB, MIB / 4, 64 * MIB)
  expect(isExceeded).toBe(true)
  expect(bytes).toBeGreaterThan(8 * MIB)
  expect(bytes).toBeLessThan(32 * MIB)
  // A single write, after which QEMU reports nothing.
  expect(await fillHole(8 * MIB, 16 * MIB, 16 * MIB)).toEqual({ isExceeded: true, bytes: 16 * MIB })
  expect(await fillHole(8 * MIB, 4 * MIB, 4 * MIB)).toEqual({ isExceeded: false, bytes: 4 * MIB })
})

test('a hot-plugged disk counts from then on, even after it was unplugged', () => {
  const { use, monitor, files, dir, isExceeded } = watch(10 * MIB, { a: 0 })
  const path = join(dir, 'plugged')
  Object.assign(files, { plugged: path })
  writeFileSync(path, '')
  use.add({ node: 'plugged', path })
  monitor.write('plugged', 4.5 * MIB)
  use.leave('plugged')
  monitor.write('a', 5 * MIB)
  expect(isExceeded()).toBe(false)
  monitor.write('a', 6 * MIB)
  expect(isExceeded()).toBe(true)
})
