import { statSync, truncateSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { beforeAll, describe, expect, test } from 'vitest'
import { buildCli } from '../support/built-cli.js'
import { findLeftovers, NOTHING } from '../support/leftovers.js'
import { ownTmpdir } from '../support/own-tmpdir.js'
import { runScript } from '../support/run-script.js'

beforeAll(buildCli)

const MAX_MEMORY_MIB = 300

interface Outcome {
  readonly code: string | undefined
  readonly message: string
  /** Peak memory of the test process, as reported by the kernel. */
  readonly peakMiB: number
  /** Peak memory of QEMU, without the mapped files. */
  readonly qemuMiB: number
}

/** Runs a hostile guest in a separate process, then another guest in the same process, which must work. */
async function attack(options: string, body: string): Promise<Outcome> {
  const tmpdir = ownTmpdir()
  const source = `
    import { readFileSync, writeFileSync } from 'node:fs'
    const mib = (pid, name) => Number(readFileSync('/proc/' + pid + '/status', 'utf8').match(name + ':\\\\s+(\\\\d+)')?.[1]) / 1024
    const quiet = { log: () => {}, standby: false }
    let vm
    let qemuMiB = 0
    const outcome = await withVM({ ...quiet, ${options} }, async (launched) => {
      vm = launched
      try { ${body} } finally { qemuMiB = mib(vm.pid, 'VmHWM') - mib(vm.pid, 'RssFile') }
    }).then(() => ({ message: '' }), ({ code, message }) => ({ code, message }))
    const peakMiB = mib('self', 'VmHWM')
    const next = await withVM(quiet, (vm) => vm.ssh\`echo runs\`)
    if (next.stdout !== 'runs') throw new Error('the next guest does not run')
    console.log(JSON.stringify({ ...outcome, peakMiB, qemuMiB }))`
  const { stdout, stderr, exitCode } = await runScript(tmpdir, source)
  expect(exitCode, String(stderr)).toBe(0)
  expect(findLeftovers(tmpdir)).toEqual(NOTHING)
  const outcome = JSON.parse(String(stdout)) as Outcome
  expect(outcome.peakMiB).toBeLessThan(MAX_MEMORY_MIB)
  return outcome
}

describe('hostile guests', () => {
  test('a guest that floods stdout and stderr over SSH fails that command', async () => {
    const { code, message } = await attack(
      '',
      "await vm.ssh`cat /dev/zero & tr '\\\\000' '\\\\377' </dev/zero >&2`",
    )
    expect(code).toBe('COMMAND_FAILED')
    expect(message).toMatch(
      /was killed: it wrote too much to std(out|err)\.\n {2}Expected: at most 16777216 bytes/,
    )
  })

  test('a guest that floods its serial console with control characters is stopped', async () => {
    const { code, message } = await attack(
      "limits: { console: '256K' }",
      "await vm.ssh`tr '\\\\000' '\\\\233' </dev/zero >/dev/ttyS0`",
    )
    expect(code).toBe('CONSOLE_LIMIT_EXCEEDED')
    expect(message).toMatch(
      /^The guest was stopped: it exceeded the limit of its console output\.\n {2}Expected: at most 256 KiB\n/,
    )
    expect(message).toContain('raise `limits: { console: … }`')
    expect(message).not.toMatch(/\p{Cc}(?<![\n\t])/u)
  })

  test('an endless line from the guest agent fails the command that waits for it', async () => {
    const { code, message } = await attack(
      '',
      `await vm.ssh\`killall qemu-ga; sleep 0.2; (cat /dev/zero >/dev/virtio-ports/org.qemu.guest_agent.0) >/dev/null 2>&1 &\`
       await vm.exec('true')`,
    )
    expect(code).toBe('AGENT_FAILED')
    expect(message).toContain(
      'The guest agent sent a message that violates its protocol.\n  Got:      a line that is longer than any response',
    )
  })

  test('a guest that fills its disk is stopped at the limit', async () => {
    const { code, message } = await attack(
      "limits: { disk: '16M' }",
      'await vm.ssh`cat /dev/vda /dev/vda >/big; sync; sleep 1000`',
    )
    expect(code).toBe('DISK_LIMIT_EXCEEDED')
    expect(message).toMatch(
      /^The guest was stopped: it exceeded the limit of its disk space on the host\.\n {2}Expected: at most 16 MiB /,
    )
    expect(message).toContain('Raise `limits: { disk: … }`')
  })

  test('a guest that fills several disks, one of them hot-plugged, is stopped at the limit of their sum', async () => {
    const { code } = await attack(
      "limits: { disk: '24M' }, disks: [{ size: '64M' }], hotplug: true",
      `await vm.plug.disk({ size: '64M', serial: 'plugged' })
       await vm.ssh\`dd if=/dev/urandom of=/dev/vdb bs=1M count=12 conv=fsync\`
       await vm.waitFor.file('/dev/vdc')
       await vm.ssh\`dd if=/dev/urandom of=/dev/vdc bs=1M count=40 conv=fsync; sleep 1000\``,
    )
    expect(code).toBe('DISK_LIMIT_EXCEEDED')
  })

  test('a guest that fills the holes of a disk with `snapshot: false` is stopped at the limit', async () => {
    const path = join(ownTmpdir(), 'sparse.raw')
    writeFileSync(path, '')
    truncateSync(path, 1024 ** 3)
    const { code } = await attack(
      `limits: { disk: '16M' }, disks: [{ image: '${path}', format: 'raw', snapshot: false }]`,
      'await vm.ssh`dd if=/dev/urandom of=/dev/vdb bs=1M count=200 conv=fsync; sleep 1000`',
    )
    expect(code).toBe('DISK_LIMIT_EXCEEDED')
    expect(statSync(path).blocks * 512).toBeLessThan(128 * 1024 ** 2)
  })

  test('captures of a guest that floods its network stay within their share of the disk limit', async () => {
    const { code, message } = await attack(
      `limits: { disk: '16M' }, netboot: {
        http: true,
        bootfile: 'boot.ipxe',
        files: {
          'boot.ipxe': '#!ipxe\\n' + 'imgfetch http://10.0.2.80/big\\nimgfree\\n'.repeat(4) + 'echo all fetched\\nsleep 1000\\n',
          big: Buffer.alloc(4 * 1024 ** 2),
        },
      }`,
      `const { readdirSync, statSync } = await import('node:fs')
       await vm.serial.waitFor('all fetched', { timeout: '3m' })
       await new Promise((resolve) => setTimeout(resolve, 1000))
       const files = readdirSync(vm.runFolder).filter((name) => name.endsWith('.pcap'))
       const bytes = files.reduce((sum, name) => sum + statSync(vm.runFolder + '/' + name).size, 0)
       const { dropped, requests } = vm.netboot
       throw Object.assign(new Error(JSON.stringify({ files, bytes, dropped, requests: requests.length })), { code: 'SEEN' })`,
    )
    expect(code).toBe('SEEN')
    const seen = JSON.parse(message)
    expect(seen).toMatchObject({ requests: 5, dropped: { malformed: 0, requests: 0 } })
    expect(seen.dropped.captures).toBeGreaterThan(0)
    expect(seen.files.length).toBeLessThanOrEqual(2)
    // An eighth of the disk limit, plus the packets of a quarter of a second at 12 MiB/s.
    expect(seen.bytes).toBeLessThan((16 / 8 + 12 / 4) * 1024 ** 2)
  })

  test('a fork bomb times out, and its guest is removed', async () => {
    const { code, message } = await attack(
      '',
      "await vm.ssh('bomb() { bomb | bomb & }; bomb; sleep 1000', { timeout: '1500ms' })",
    )
    expect(code).toBe('COMMAND_TIMEOUT')
    expect(message).toContain('did not end within 1.5 s')
  })

  test('a guest that allocates all of its memory uses no more than `memory`', async () => {
    const { code, message, qemuMiB } = await attack('', 'await vm.ssh`tail /dev/zero`')
    expect(code).toBe('COMMAND_FAILED')
    expect(message).toContain('Got:      signal SIGKILL\nFix: Look for `Out of memory` on the serial console')
    expect(qemuMiB).toBeLessThan(256 + 128)
  })

  test('a guest that resets itself repeatedly while in use is stopped', async () => {
    const { code, message } = await attack(
      "start: 'cold', memory: '32M', ready: 'none'",
      "await vm.serial.waitFor('never')",
    )
    expect(code).toBe('GUEST_REBOOT_LOOP')
    expect(message).toMatch(/^The guest was stopped: it reset itself 10 times in a row\.\n/)
  })
})
