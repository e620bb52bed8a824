import { existsSync, readFileSync, statSync } from 'node:fs'
import { join } from 'node:path'
import { expect, test } from 'vitest'
import { launchVM } from 'withvm'
import { resolveImage } from '../../src/image/resolve-image.js'
import { encrypt, makeDisk } from '../support/disk-images.js'
import { failureOf } from '../support/failure-of.js'
import { findLeftovers, NOTHING } from '../support/leftovers.js'
import { ownTmpdir } from '../support/own-tmpdir.js'

const SECRET = 'open sesame'

test('an encrypted image boots, and its secret is stored only in the folder of the run', async () => {
  const dir = ownTmpdir()
  const { disk, directBoot } = await resolveImage('tiny')
  const { kernel, initrd, append } = directBoot ?? {}
  const path = encrypt(disk?.path as string, join(dir, 'disk.qcow2'), 'qcow2', SECRET)
  const tmpdir = ownTmpdir()
  const artifacts = join(dir, 'logs')
  let secretFile = ''
  {
    const image = { path, secret: SECRET }
    await using vm = await launchVM({ image, kernel, initrd, append, tmpdir, log: () => {} })
    expect((await vm.ssh`cat /etc/os-release`).stdout).toContain('ID=withvm-tiny')
    secretFile = join(vm.runFolder, 'disk-secret')
    expect(statSync(secretFile).mode & 0o777).toBe(0o600)
    expect(readFileSync(`/proc/${vm.pid}/cmdline`, 'utf8')).not.toContain(SECRET)
    expect(vm.commandLine).not.toContain(SECRET)
    await vm.ssh`echo written > /root/file && sync`
    await vm.powerCut()
    await vm.start()
    expect((await vm.ssh`cat /root/file; echo ${SECRET}`).stdout).toContain('written')
    expect(readFileSync(join(await vm.saveLogs(artifacts), 'commands.log'), 'utf8')).not.toContain(SECRET)
  }
  expect(existsSync(secretFile)).toBe(false)
  expect(findLeftovers(tmpdir)).toEqual(NOTHING)
})

test('a wrong secret, a missing secret and a secret for an unencrypted image are rejected', async () => {
  const dir = ownTmpdir()
  const plain = makeDisk(dir)
  const path = encrypt(plain, join(dir, 'encrypted'), 'luks', SECRET)
  const options = { ssh: false, ready: 'none', tmpdir: ownTmpdir() } as const
  const refusal = async (image: { path: string; secret?: string | { file: string }; format?: 'raw' }) => {
    const error = await failureOf(launchVM({ ...options, image }))
    expect(findLeftovers(options.tmpdir)).toEqual(NOTHING)
    return `${error.code}: ${error.message}`
  }
  expect(await refusal({ path, secret: 'sesame' })).toContain(
    'IMAGE_INVALID: QEMU did not start: the secret does not unlock the encrypted image.',
  )
  expect(await refusal({ path })).toContain('is encrypted, and no `secret` is set')
  expect(await refusal({ path: plain, secret: SECRET })).toContain('is not encrypted, but `secret` is set')
  expect(await refusal({ path, secret: { file: join(dir, 'nowhere') } })).toContain(
    'image.secret.file: expected',
  )
  expect(await refusal({ path, secret: '' })).toContain('image.secret: expected a non-empty passphrase')
})
