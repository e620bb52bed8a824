import { symlinkSync } from 'node:fs'
import { join } from 'node:path'
import { describe, expect, onTestFinished, test } from 'vitest'
import { launchVM, type VM, type VMOptions } from 'withvm'
import { resolveImage } from '../../../src/image/resolve-image.js'
import { ownTemplates } from '../../support/own-templates.js'
import { ownTmpdir } from '../../support/own-tmpdir.js'
import { cloudImage, debvmImage, LONG_MS, TESTER, trixieImage } from '../../support/stock-images.js'

/** Values that must differ between two guests, as commands of root. */
const FACTS = {
  hostname: 'hostname',
  machineId: 'cat /etc/machine-id',
  random: 'head -c 16 /dev/urandom | base64',
  hostKey: 'cat /etc/ssh/ssh_host_ed25519_key',
}

type Run = (vm: VM, command: string) => Promise<string>

const overSsh: Run = async (vm, command) => (await vm.ssh(`sudo -n sh -c '${command}' || ${command}`)).stdout
const byAgent: Run = async (vm, command) => (await vm.exec(command)).stdout

/** Starts two guests after each other, and asserts that the clones differ. Returns the second one. */
async function expectTwoClones(options: VMOptions, run: Run): Promise<VM> {
  ownTemplates()
  const start = (name: string) => launchVM({ standby: false, ...options, name })
  await using one = await start('one')
  expect(one.startedFrom).toMatchObject({ kind: 'template', buildMs: expect.any(Number) })
  const two = await start('two')
  onTestFinished(() => two.dispose())
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
  return two
}

describe('clones of an image without an identity agent have their own identities', () => {
  test(
    'a cloud image, which cloud-init configures',
    async () => {
      const { qcow2: image, kernel, initrd, append } = await cloudImage()
      const two = await expectTwoClones({ image, kernel, initrd, append }, overSsh)
      // The names and keys of a clone are on its disk.
      const id = await overSsh(two, 'cat /etc/machine-id')
      await two.powerCut()
      await two.start()
      expect(await overSsh(two, 'hostname; cat /etc/machine-id')).toBe(`two\n${id}`)
    },
    LONG_MS,
  )

  test(
    'an image of debvm, which accepts the key as a systemd credential',
    async () => {
      const { qcow2: image, kernel, initrd, append } = await debvmImage()
      await expectTwoClones({ image, kernel, initrd, append }, overSsh)
    },
    LONG_MS,
  )

  test(
    'a copy of an image of withvm, which contains an identity agent',
    async () => {
      const image = join(ownTmpdir(), 'disk.qcow2')
      symlinkSync((await resolveImage('debian')).disk?.path as string, image)
      await expectTwoClones({ image }, overSsh)
    },
    LONG_MS,
  )

  test(
    'an image whose SSH server passes the host keys on, for a user with sudo',
    async () => {
      const login = { user: TESTER.user, password: TESTER.password }
      await expectTwoClones({ ...(await trixieImage()), login }, overSsh)
    },
    LONG_MS,
  )

  test(
    'an image that only the QEMU guest agent reaches',
    async () => {
      await expectTwoClones({ ...(await trixieImage()), ready: 'agent', ssh: false }, byAgent)
    },
    LONG_MS,
  )
})
