import { writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { execa } from 'execa'
import ssh2, { type ParsedKey } from 'ssh2'
import { beforeAll, expect, test } from 'vitest'
import { generateSshKeyPair, toDropbearHostKey } from '../../../../src/channel/ssh/keys.js'
import { fingerprint } from '../../../../src/channel/ssh/ssh-connection.js'
import { buildCli } from '../../../support/built-cli.js'
import { ownTmpdir } from '../../../support/own-tmpdir.js'

const BUILT = new URL('../../../../dist/src/', import.meta.url).pathname

beforeAll(buildCli)

test('a generated private key can be parsed and matches its public key', () => {
  const pair = generateSshKeyPair()
  const [privateKey, publicKey] = [pair.privateKey, pair.publicKey].map((text) => ssh2.utils.parseKey(text))
  const signature = (privateKey as ParsedKey).sign('text')
  expect((publicKey as ParsedKey).verify('text', signature as Buffer)).toBe(true)
  expect((publicKey as ParsedKey).getPublicSSH()).toEqual(pair.publicBlob)
  expect(pair.publicKey).toBe(`ssh-ed25519 ${pair.publicBlob.toString('base64')}`)
})

test('generated key pairs differ', () => {
  const pairs = Array.from({ length: 20 }, generateSshKeyPair)
  expect(new Set(pairs.map((pair) => pair.publicKey)).size).toBe(20)
})

test('key pairs are generated while the garbage collector runs', async () => {
  const program = join(ownTmpdir(), 'generate.mjs')
  writeFileSync(
    program,
    `const { generateSshKeyPair } = await import('${BUILT}channel/ssh/keys.js')
    for (let pair = 0; pair < 2000; pair++) generateSshKeyPair()`,
  )
  // Each number of allocations between two collections hits other moments.
  for (const interval of [3, 5, 7, 11])
    await execa(process.execPath, [`--gc-interval=${interval}`, program], { timeout: 15_000 })
}, 90_000)

test('a host key for Dropbear contains the type, the secret and the public key', () => {
  const pair = generateSshKeyPair()
  const key = toDropbearHostKey(pair)
  // Written by dropbearconvert 2022.83 for the same key.
  expect(key.length).toBe(4 + 11 + 4 + 64)
  expect(key.toString('latin1', 4, 15)).toBe('ssh-ed25519')
  expect(key.readUInt32BE(15)).toBe(64)
  expect(key.subarray(-32)).toEqual(pair.publicBlob.subarray(-32))
})

test('a fingerprint has the format of `ssh-keygen -l`', () => {
  const publicBlob = Buffer.from(
    'AAAAC3NzaC1lZDI1NTE5AAAAIIscZOTjQL3cDD+kh03dz2S59uQyTk3WRJ8Ud2y4d9CQ',
    'base64',
  )
  expect(fingerprint(publicBlob)).toBe('SHA256:W8mWi62DiUOQeGXx4yPy/sjuAa5y6fQv3dS+sw5gt9E')
})
