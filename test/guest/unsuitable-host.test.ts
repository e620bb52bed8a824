import { execa } from 'execa'
import { beforeAll, expect, test } from 'vitest'
import { buildCli } from '../support/built-cli.js'
import { ownTmpdir } from '../support/own-tmpdir.js'
import { writeScript } from '../support/run-script.js'

// The scripts import the built package.
beforeAll(buildCli)

/** True if this user can create a mount namespace. */
const isRoot = process.getuid?.() === 0

const GUEST = "{ image: false, ssh: false, ready: 'none', log: () => {} }"
const LAUNCH = `
try {
  await withVM(${GUEST}, () => {})
  console.log('started')
} catch (error) {
  console.log(error.code + ': ' + error.message)
}
`

/** Runs a script after shell commands that change its view of the host. Returns its output. */
async function launchAfter(change: string, source = LAUNCH): Promise<string> {
  const folder = ownTmpdir()
  const command = `${change}; exec "${process.execPath}" "${writeScript(folder, source)}"`
  const file = isRoot ? ['unshare', '--mount', 'sh', '-c', command] : ['sh', '-c', command]
  const { stdout, stderr } = await execa(file[0] as string, file.slice(1), {
    env: { TMPDIR: folder },
    reject: false,
    timeout: 60_000,
  })
  return stdout + stderr
}

test.runIf(isRoot)('a host without /proc is rejected with the command that mounts it', async () => {
  expect(await launchAfter('umount -l /proc')).toMatch(
    /^HOST_UNSUITABLE: The processes of this host are not visible: \/proc is not mounted\.\n[\s\S]*Fix: Mount it: `mount -t proc/,
  )
})

test.runIf(isRoot)('a host without setpriv is rejected with the package to install', async () => {
  expect(await launchAfter('mount --bind /dev/null "$(readlink -f "$(command -v setpriv)")"')).toMatch(
    /^TOOL_NOT_FOUND: The program setpriv was not found[\s\S]*Fix: Install util-linux: /,
  )
})

test('a process that reached its limit of open files fails with HOST_UNSUITABLE', async () => {
  const opening = `
import { openSync, closeSync } from 'node:fs'
await withVM(${GUEST}, () => {}) // all modules are loaded
const open = []
try { for (;;) open.push(openSync('/dev/null')) } catch {}
for (let free = 0; free < 30; free++) {
  for (let i = 0; i < 3 && open.length > 0; i++) closeSync(open.pop())
  try { await withVM(${GUEST}, () => {}); console.log('started'); break } catch (error) { console.log(error.code) }
}
`
  const codes = (await launchAfter('ulimit -n 256', opening)).trim().split('\n')
  expect([...new Set(codes)]).toEqual(['HOST_UNSUITABLE', 'started'])
})
