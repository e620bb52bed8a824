import { writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { execa } from 'execa'
import type ssh2 from 'ssh2'
import { beforeAll, expect, onTestFinished, test } from 'vitest'
import { generateSshKeyPair } from '../../../../src/channel/ssh/keys.js'
import { buildCli } from '../../../support/built-cli.js'
import { ownTmpdir } from '../../../support/own-tmpdir.js'
import { startSshServer } from '../../../support/ssh-server.js'

const DIST = new URL('../../../../dist/src/channel/ssh/', import.meta.url).href

/** Removes algorithms from the crypto module of the process, as Bun and OpenSSL in FIPS mode lack them. */
const PRELOAD = `
const crypto = require('node:crypto')
const lacks = (name) => process.env.LACKING.split(' ').includes(name)
for (const list of ['getCiphers', 'getHashes']) {
  const all = crypto[list]
  crypto[list] = () => all().filter((name) => !lacks(name))
}
for (const call of ['createCipheriv', 'createDecipheriv', 'generateKeyPairSync']) {
  const original = crypto[call]
  crypto[call] = (name, ...rest) => {
    if (lacks(name)) throw new Error('unsupported: ' + name)
    return original(name, ...rest)
  }
}
require('node:module').syncBuiltinESMExports()
`

beforeAll(buildCli)

/** Runs a script in a Node.js without these algorithms. Returns its output. */
async function runWithout(lacking: readonly string[], script: string): Promise<string> {
  const preload = join(ownTmpdir(), 'preload.cjs')
  writeFileSync(preload, PRELOAD)
  const args = ['--require', preload, '--input-type=module', '--eval', script]
  const env = { LACKING: lacking.join(' ') }
  return (await execa(process.execPath, args, { env, timeout: 30_000 })).stdout
}

/** Logs in to a server with these algorithms, and runs a command. Returns its output or the error. */
async function logIn(lacking: readonly string[], algorithms: ssh2.Algorithms = {}): Promise<string> {
  const [hostKey, clientKey] = [generateSshKeyPair(), generateSshKeyPair()]
  const server = await startSshServer({ hostKey, authorized: [clientKey.publicBlob], algorithms })
  onTestFinished(() => server.close())
  const options = { port: server.port, privateKey: clientKey.privateKey, timeoutMs: 10_000 }
  return runWithout(
    lacking,
    `const { SshClient } = await import('${DIST}ssh-client.js')
    try {
      const client = await SshClient.connect(${JSON.stringify(options)})
      console.log((await client.exec('echo done')).stdout)
      client.close()
    } catch (error) {
      console.log(error.code, error.name, error.message)
    }`,
  )
}

test.each([
  ['Bun has no ChaCha20', ['chacha20']],
  ['OpenSSL in FIPS mode has neither ChaCha20 nor X25519', ['chacha20', 'x25519']],
  ['a runtime may have no AES-GCM either', ['chacha20', 'x25519', 'aes-128-gcm', 'aes-256-gcm']],
])('an SSH client logs in with the algorithms of its runtime: %s', async (_, lacking) => {
  expect(await logIn(lacking)).toBe('done')
})

test('a server that accepts only algorithms that this runtime lacks is a failure of the host', async () => {
  const error = await logIn(['chacha20'], { cipher: ['chacha20-poly1305@openssh.com'] })
  expect(
    error,
  ).toBe(`SSH_UNSUPPORTED InfrastructureError Node.js ${process.versions.node} lacks algorithms that SSH requires.
  Expected: chacha20-poly1305@openssh.com
  Got:      Handshake failed: no matching C->S cipher
Fix: Run the tests with a Node.js from nodejs.org, without FIPS mode.`)
})

test('a server without a common algorithm is a failure of the guest if this runtime lacks none', async () => {
  expect(await logIn([], { cipher: ['aes256-cbc'] as never })).toMatch(/^SSH_REFUSED GuestError /)
})

test('`generateSshKeyPair()` reports a runtime without Ed25519', async () => {
  const script = `const { generateSshKeyPair } = await import('${DIST}keys.js')
    try { generateSshKeyPair() } catch (error) { console.log(error.code, error.details.expected, error.details.got) }`
  expect(await runWithout(['ed25519'], script)).toBe(
    'SSH_UNSUPPORTED ssh-ed25519 Error: unsupported: ed25519',
  )
})
