import { expect, test } from 'vitest'
import { watchForFailure } from '../../../../src/vm/watch/failure-watch.js'
import { GuestWatch } from '../../../../src/vm/watch/guest-watch.js'
import { openSerialPeer } from '../../../support/serial-peer.js'

/** Starts of patterns, repeated, that never match the rest of the pattern. */
const BEGINNINGS = [
  'ALERT!',
  'Oops: ',
  'general protection fault',
  'XFS (a): ',
  'BTRFS',
  'dhcp',
  'Dependency failed for ',
  'cloud-init',
  'Failed to start ',
  'Welcome to ',
  'Started ',
  'Reached target ',
]

test('lines of 64 KiB that repeat the start of a pattern do not block the process', async () => {
  await using peer = await openSerialPeer()
  const watch = new GuestWatch()
  watch.follow(peer.serial)
  const failureWatch = watchForFailure(peer.serial)
  // Quadratic matching takes more than a minute for these lines.
  const lines = Array.from({ length: 8 }, () => BEGINNINGS)
    .flat()
    .map((text) => text.repeat(65_536 / text.length))
  peer.guest.write(`${lines.join('\n')}\nOut of memory: Killed process 9 (demo)\n`)
  await peer.serial.waitFor('(demo)', { timeout: '35s' })
  expect(peer.serial.lines()).toEqual([...lines, 'Out of memory: Killed process 9 (demo)'])
  watch.finish()
  expect(watch.failure.reason).toMatchObject({ code: 'GUEST_FAILED' })
  expect(failureWatch.signal.aborted).toBe(true)
  failureWatch.stop()
}, 40_000)
