import { symlinkSync } from 'node:fs'
import { join } from 'node:path'
import { beforeAll, describe, expect, test } from 'vitest'
import { launchVM, type VM, type VMOptions } from 'withvm'
import { resolveImage } from '../../../src/image/resolve-image.js'
import type { BaseImage } from '../../../src/spec/base-image.js'
import { ownTemplates } from '../../support/own-templates.js'
import { ownTmpdir } from '../../support/own-tmpdir.js'
import { cloudImage, LONG_MS, TESTER, trixieImage } from '../../support/stock-images.js'

/** Values that must differ between two guests, as commands of root. */
const FACTS = {
  hostname: 'hostname',
  machineId: 'cat /etc/machine-id',
  random: 'head -c 16 /dev/urandom | base64',
  hostKey: 'cat /etc/ssh/ssh_host_ed25519_key',
}

let cloud: Awaited<ReturnType<typeof cloudImage>>
let trixie: Awaited<ReturnType<typeof trixieImage>>
let debian: BaseImage

beforeAll(async () => {
  cloud = await cloudImage()
  trixie = await trixieImage()
  debian = await resolveImage('debian')
}, 2 * LONG_MS)

/** Runs a command as root. */
const run = async (vm: VM, command: string) =>
  (await vm.ssh(`sudo -n sh -c '${command}' || ${command}`)).stdout

/** Starts two guests after each other, and asserts that the clones differ. */
async function expectTwoClones(options: VMOptions): Promise<void> {
  ownTemplates()
  const start = (name: string) => launchVM({ standby: false, ...options, name })
  await using one = await start('one')
  expect(one.startedFrom).toMatchObject({ kind: 'template', buildMs: expect.any(Number) })
  await using two = await start('two')
  expect(two.startedFrom).toMatchObject({ kind: 'template', buildMs: undefined })
  for (const [fact, command] of Object.entries(FACTS)) {
    const [first, second] = [await run(one, command), await run(two, command)]
    expect(first, fact).toMatch(/./)
    expect(first, fact).not.toBe(second)
    if (fact === 'hostname') expect([first, second]).toEqual(['one', 'two'])
  }
  await two.checkpoint('first')
  const random = await run(two, FACTS.random)
  await two.restore('first')
  expect(await run(two, FACTS.random)).not.toBe(random)
  const guestMs = Number(await run(two, 'date +%s')) * 1000
  expect(Math.abs(guestMs - Date.now())).toBeLessThan(5000)
  expect(await run(two, 'ls -d /dev/withvm || grep -c withvm /proc/mounts || true')).toBe('0')
}

describe('clones of an image without an identity agent have their own identities', () => {
  test(
    'a cloud image, which cloud-init configures',
    async () => {
      const { qcow2: image, kernel, initrd, append } = cloud
      await expectTwoClones({ image, kernel, initrd, append })
    },
    LONG_MS,
  )

  test(
    'a copy of an image of withvm, which contains an identity agent',
    async () => {
      const image = join(ownTmpdir(), 'disk.qcow2')
      symlinkSync(debian.disk?.path as string, image)
      await expectTwoClones({ image })
    },
    LONG_MS,
  )

  test(
    'an image whose SSH server passes the host keys on, for a user with sudo',
    async () => {
      const login = { user: TESTER.user, password: TESTER.password }
      await expectTwoClones({ ...trixie, login })
    },
    LONG_MS,
  )
})
