import { mkdirSync, readdirSync, readFileSync, statSync } from 'node:fs'
import { join } from 'node:path'
import { expect, test } from 'vitest'
import { launchVM } from 'withvm'
import { encrypt, makeDisk } from '../support/disk-images.js'
import { failureOf } from '../support/failure-of.js'
import { ownTmpdir } from '../support/own-tmpdir.js'

/** Files of a guest in the artifacts. */
const ARTIFACTS = [
  'command-line.txt',
  'commands.log',
  'dmesg.txt',
  'guest.txt',
  'qemu.log',
  'qmp.log',
  'screenshot.png',
  'serial.log',
]

const VNC = 'vnc-8391'
const SPICE = 'spice-secret-5172'
const DISK = 'disk-secret-9043'
const PASSWORD = 'login-password-6620'

function makeArtifacts(): string {
  const artifacts = join(ownTmpdir(), 'artifacts')
  mkdirSync(artifacts)
  return artifacts
}

/** Reads the argument lists of all processes that this user can inspect. */
function readCommandLines(): string {
  return readdirSync('/proc')
    .filter((name) => /^\d+$/.test(name))
    .map((pid) => {
      try {
        return readFileSync(`/proc/${pid}/cmdline`, 'latin1')
      } catch {
        return '' // the process has ended
      }
    })
    .join('\n')
}

/** Returns the lines of a private key that occur in no other key. */
const secretLines = (pem: string) =>
  pem
    .split('\n')
    .filter((line) => /^[A-Za-z0-9+/=]{16,}$/.test(line))
    .slice(-2)

/** Asserts that neither the artifacts nor the given texts contain the secrets. Returns the names of the artifacts. */
function expectNone(secrets: readonly string[], folder: string, texts: Readonly<Record<string, string>>) {
  const names = readdirSync(folder)
  const all = { ...texts, 'all argument lists': readCommandLines() }
  const files = names.map((name) => [name, readFileSync(join(folder, name), 'latin1')] as const)
  for (const secret of secrets)
    for (const [name, content] of [...files, ...Object.entries(all)])
      expect(content.includes(secret), `${secret} in ${name}`).toBe(false)
  return names.sort()
}

test('keys and secrets appear in no argument list, no artifact and not in the error after QEMU died', async () => {
  const artifacts = makeArtifacts()
  const images = ownTmpdir()
  const path = encrypt(makeDisk(images), join(images, 'encrypted'), 'luks', DISK)
  const screens = { vga: 'std', vnc: { password: VNC }, spice: { password: SPICE } } as const
  const disks = [{ image: { path, secret: DISK } }]
  await using vm = await launchVM({ log: () => {}, artifacts, ...screens, disks })
  const client = readFileSync(join(vm.runFolder, 'id_ed25519'), 'utf8')
  const host = (await vm.ssh`base64 /run/credentials/@system/withvm.dropbear_host_key`).stdout
  const secrets = [...secretLines(client), ...secretLines(host), VNC, SPICE, DISK]
  expect(secrets).toHaveLength(7)
  for (const name of ['vnc-secret', 'spice-secret', 'disk-1-secret', 'id_ed25519'])
    expect(statSync(join(vm.runFolder, name)).mode & 0o777, name).toBe(0o600)

  // The guest prints its secrets on the console, like a guest that logs too much.
  const all = [client, host, VNC, SPICE, DISK].join('\n')
  await vm.ssh('cat >/dev/ttyS0; sleep 0.5', { stdin: all })
  const failed = await failureOf(vm.ssh('cat >/dev/null; exit 1', { stdin: all }))
  const { commandLine } = vm
  const folder = await vm.saveLogs(artifacts)
  process.kill(vm.pid, 'SIGKILL')
  const died = await failureOf(vm.ssh`true`)
  expect(died.code).toBe('QEMU_DIED')
  expect(died.message).toContain('(redacted)')
  const texts = {
    'the error of a guest that died': died.message,
    'the error of a command': failed.message,
    'vm.commandLine': commandLine,
  }
  expect(expectNone(secrets, folder, texts)).toEqual(ARTIFACTS)
  expect(readFileSync(join(folder, 'serial.log'), 'latin1')).toContain('(redacted)')
})

test('the SSH password appears in no argument list, no artifact and not in the error of a failed login', async () => {
  const artifacts = makeArtifacts()
  const ssh = { user: 'root', password: PASSWORD }
  await using vm = await launchVM({ log: () => {}, artifacts, ssh, ready: 'agent', start: 'cold' })
  await vm.exec(`echo ${PASSWORD} >/dev/ttyS0`)
  await vm.serial.waitFor(PASSWORD)
  const refused = await failureOf(vm.ssh`true`)
  expect(refused.code).toBe('SSH_AUTH_FAILED')
  const folder = await vm.saveLogs(artifacts)
  expectNone([PASSWORD], folder, { 'the error of a login': refused.message })
})

test('the state of a TPM is not part of the artifacts', async () => {
  const artifacts = makeArtifacts()
  const options = { image: false, tpm: true, ssh: false, ready: 'none' } as const
  await using vm = await launchVM({ log: () => {}, ...options })
  const tpm = join(vm.runFolder, 'tpm')
  expect(statSync(tpm).mode & 0o777).toBe(0o700)
  const [state = ''] = readdirSync(tpm).filter((name) => name.endsWith('.permall'))
  const bytes = readFileSync(join(tpm, state)).toString('latin1')
  expect(bytes.length).toBeGreaterThan(1000)
  const folder = await vm.saveLogs(artifacts)
  expect(expectNone([bytes.slice(500, 532)], folder, {})).not.toContain('tpm')
})
