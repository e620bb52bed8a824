import { expect, test } from 'vitest'
import { watchTrouble } from '../../../../src/vm/watch/guest-trouble.js'
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
  const trouble = watchTrouble(peer.serial)
  // Quadratic matching takes more than a minute for these lines.
  const lines = Array.from({ length: 8 }, () => BEGINNINGS)
    .flat()
    .map((text) => text.repeat(65_536 / text.length))
  peer.guest.write(`${lines.join('\n')}\nOut of memory: Killed process 9 (demo)\n`)
  await peer.serial.waitFor('(demo)', { timeout: '35s' })
  expect(peer.serial.lines()).toEqual([...lines, 'Out of memory: Killed process 9 (demo)'])
  watch.finish()
  expect(watch.failure.reason).toMatchObject({ code: 'GUEST_FAILED' })
  expect(trouble.signal.aborted).toBe(true)
  trouble.stop()
}, 40_000)
