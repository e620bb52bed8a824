import { chownSync, mkdirSync, symlinkSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { execa } from 'execa'
import { expect, onTestFinished, test, vi } from 'vitest'
import { formatEntry } from '../../../../src/budget/entry.js'
import { writeLeaseNamed } from '../../../../src/budget/lease-files.js'
import { describeGuest, formatGuests } from '../../../../src/cli/guests/ps.js'
import { stopGuests } from '../../../../src/cli/guests/stop.js'
import { formatJson } from '../../../../src/cli/json.js'
import { newRunFolderName } from '../../../../src/common/locks/run-folder-name.js'
import { KEPT_FILE, noteHandedOver } from '../../../../src/vm/workspace/run-folder.js'
import { findRunningGuests } from '../../../../src/vm/workspace/running-guests.js'
import { ownPool } from '../../../support/own-pool.js'
import { ownTmpdir } from '../../../support/own-tmpdir.js'

const OTHER = 12_345

/** Makes a folder like that of a run. */
function makeFolder(): string {
  const dir = join(ownTmpdir(), newRunFolderName())
  mkdirSync(dir, { mode: 0o700 })
  return dir
}

/** Starts a program with the arguments of a guest whose run is in the folder. Returns the listed guests of that folder. */
async function findLookalike(
  dir: string,
  {
    uid,
    name = 'a\u001b[2Jb',
    onStarted = async () => {},
  }: {
    readonly uid?: number
    readonly name?: string
    readonly onStarted?: (pid: number) => Promise<void>
  } = {},
) {
  const before = uid === undefined ? [] : ['setpriv', '--reuid', String(uid), '--clear-groups']
  const program = [process.execPath, '-e', "console.log('up'); setInterval(() => {}, 1000)"]
  const args = [`guest=${name}`, `socket,id=qmp,path=${dir}/qmp.sock`, `file,logfile=${dir}/serial.log`]
  const [file = '', ...rest] = [...before, ...program, '--', ...args]
  const child = execa(file, rest, { reject: false, cwd: '/' })
  onTestFinished(() => void child.kill('SIGKILL'))
  await new Promise((resolve) => child.stdout.once('data', resolve))
  await onStarted(child.pid ?? 0)
  return (await findRunningGuests()).filter((guest) => guest.dir === dir)
}

test('a process with the arguments of a guest, in a folder of its own run, is listed', async () => {
  const dir = makeFolder()
  writeFileSync(
    join(dir, KEPT_FILE),
    JSON.stringify({ why: 'a\u001b[31mfailure\n2', until: '2030-01-01T00:00:00Z' }),
  )
  const guests = await findLookalike(dir)
  expect(guests).toHaveLength(1)
  const text = formatGuests(guests)
  expect(text).toContain('a\\u001b[2Jb')
  expect(text).toContain('a\\u001b[31mfailure 2')
  expect(text.split('\n')).toHaveLength(2)
})

test.each<[string, (dir: string) => void, { uid?: number }]>([
  ["of another user's, in a folder of that user's", (dir) => chownSync(dir, OTHER, OTHER), { uid: OTHER }],
  ['of this user, in a folder of another user', (dir) => chownSync(dir, OTHER, OTHER), {}],
])('a process that looks like a guest, %s, is not listed', async (_, change, options) => {
  const dir = makeFolder()
  change(dir)
  expect(await findLookalike(dir, options)).toEqual([])
})

test('a process of the user of `runAs` is listed if root gave that user the folder', async () => {
  const dir = makeFolder()
  await noteHandedOver(dir)
  chownSync(dir, OTHER, OTHER)
  expect(await findLookalike(dir, { uid: OTHER })).toHaveLength(1)
})

test.each<[string, (path: string) => unknown]>([
  ['a FIFO', (path) => execa('mkfifo', [path])],
  ['a link', (path) => symlinkSync('/etc/passwd', path)],
  [
    'a large file',
    (path) => writeFileSync(path, JSON.stringify({ why: 'x'.repeat(1e6), until: '2030-01-01' })),
  ],
  ['a file of another form', (path) => writeFileSync(path, '{"why": {"toString": 1}, "until": "never"}')],
])('%s in place of the record of a kept guest is ignored', async (_, put) => {
  const dir = makeFolder()
  await put(join(dir, KEPT_FILE))
  expect((await findLookalike(dir))[0]?.kept).toBeUndefined()
})

test('a standby is listed with its image and its process, in whichever pool its lease is', async () => {
  ownPool()
  const entry = { ticket: '0123456789abcd', state: 'standby', holder: '4242.0.1' } as const
  const guest = { expectedMiB: 1, maxMiB: 1, name: 'web-9dde26', image: 'my image@2.qcow2' }
  const onStarted = async (qemuPid: number) => {
    const lease = await writeLeaseNamed(formatEntry({ ...entry, ...guest, qemuPid }))
    onTestFinished(() => lease.release())
    ownPool()
  }
  const guests = await findLookalike(makeFolder(), { name: 'web', onStarted })
  expect(guests).toMatchObject([{ guest: 'web', image: 'my_image_2.qcow2', use: 'standby', ownerPid: 4242 }])
  expect(formatGuests(guests)).toMatch(/\nweb-[0-9a-f]{6} +my_image_2\.qcow2 .* standby of process 4242$/)
})

test('control characters in names are escaped by `ps --json` and `stop`', async () => {
  const dir = makeFolder()
  const record = { why: 'a\u009b31m\u007f\u202e', until: '2030-01-01T00:00:00Z' }
  writeFileSync(join(dir, KEPT_FILE), JSON.stringify(record))
  const guests = await findLookalike(dir, { name: 'a\u009b2Jb' })
  const json = formatJson(guests.map(describeGuest))
  expect(json).toMatch(/^[\n\x20-\x7e]*$/)
  expect(JSON.parse(json)).toMatchObject([{ guest: 'a\u009b2Jb', kept: { why: record.why } }])
  const write = vi.spyOn(process.stdout, 'write').mockReturnValue(true)
  onTestFinished(() => write.mockRestore())
  await stopGuests([guests[0]?.name ?? ''])
  expect(write.mock.calls.map(([text]) => text)).toEqual([
    `The guest 'a\\u009b2Jb-${dir.slice(-6)}' was stopped and removed.\n`,
  ])
})
