// Measures network boots with an initrd of 50 MiB over each protocol, in comparison with raw QEMU.
import { spawn } from 'node:child_process'
import { randomBytes } from 'node:crypto'
import { createReadStream, mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { createServer } from 'node:http'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { netboot, withVM } from 'withvm'
import { alternate, median, ms, pairedRatio, table, timed } from './statistics.mjs'

const SIZE = 50 * 1024 ** 2
const silent = { log: () => {} }
const limit = { timeouts: { start: '10m' }, memory: '512M' }

export async function measureNetboot({ host, rounds }) {
  const dir = mkdtempSync(join(tmpdir(), 'netboot-'))
  const initrd = join(dir, 'initrd')
  writeFileSync(initrd, randomBytes(SIZE))
  const web = createServer((_, response) => {
    response.setHeader('Content-Length', SIZE)
    createReadStream(initrd).pipe(response)
  })
  await new Promise((resolve) => web.listen(0, '127.0.0.1', resolve))
  const forwarded = `http://10.0.2.2:${web.address().port}/initrd`
  const ways = {
    'raw QEMU, TFTP by iPXE': () => fetchRaw(host, dir),
    'TFTP by iPXE (blocks of 1428)': () => fetchOurs({}, 'tftp://10.0.2.2/initrd', initrd),
    'HTTP through guestfwd': () => fetchOurs({ http: true }, 'http://10.0.2.80/initrd', initrd),
    'HTTP from a port of the host, network.internet': () =>
      fetchOurs({}, forwarded, initrd, { network: { internet: true } }),
  }
  const times = Object.fromEntries(Object.keys(ways).map((name) => [name, []]))
  try {
    for (let round = 0; round < rounds; round++) {
      const measurements = Object.entries(ways).map(
        ([name, run]) =>
          async () =>
            times[name].push(await run()),
      )
      await alternate(round, measurements)
    }
  } finally {
    web.close()
    rmSync(dir, { recursive: true })
  }
  const raw = times['raw QEMU, TFTP by iPXE']
  const result = {}
  const rows = [['50 MiB to a guest that boots', 'ms', 'ratio to raw QEMU']]
  for (const [name, values] of Object.entries(times)) {
    result[name] = { ms: median(values), ratio: pairedRatio(values, raw) }
    rows.push([name, ms(median(values)), pairedRatio(values, raw).toFixed(2)])
  }
  console.log(`Network boot, ${host.accelerator.toUpperCase()}\n${table(rows)}\n`)
  const direct = await measureDirect(rounds)
  return { ...result, direct }
}

function script(url) {
  return `#!ipxe\necho the fetch begins\nimgfetch ${url}\necho the fetch ends\nsleep 600\n`
}

function fetchOurs(more, url, initrd, options = {}) {
  const files = { 'boot.ipxe': script(url), initrd: { path: initrd } }
  const served = { bootfile: 'boot.ipxe', files, ...more }
  return withVM({ ...silent, ...limit, ...options, netboot: served, ready: /^the fetch begins/ }, (vm) =>
    timed(() => vm.serial.waitFor(/^the fetch ends/, { timeout: '10m' })),
  )
}

/** Boots the same machine without withvm: without a capture, and with its console on a pipe. */
async function fetchRaw({ qemuPath, accelerator }, dir) {
  writeFileSync(join(dir, 'boot.ipxe'), script('tftp://10.0.2.2/initrd'))
  const args = [
    ...['-nodefaults', '-no-user-config', '-display', 'none', '-boot', 'n', '-m', '512M', '-serial', 'stdio'],
    ...['-machine', `pc,accel=${accelerator},graphics=off,usb=off,vmport=off,smbus=off`],
    ...['-cpu', accelerator === 'kvm' ? 'host' : 'max'],
    ...[
      '-netdev',
      `user,id=net0,restrict=on,tftp=${dir},bootfile=boot.ipxe`,
      '-device',
      'virtio-net-pci,netdev=net0',
    ],
  ]
  const qemu = spawn(qemuPath, args, { stdio: ['ignore', 'pipe', 'inherit'] })
  try {
    let log = ''
    let begunAt
    for await (const chunk of qemu.stdout) {
      log += chunk
      if (begunAt === undefined && log.includes('the fetch begins')) begunAt = performance.now()
      if (log.includes('the fetch ends')) return performance.now() - begunAt
    }
    throw new Error(`QEMU ended: ${log}`)
  } finally {
    qemu.kill('SIGKILL')
  }
}

/** Measures a kernel with that initrd, loaded over the network and by QEMU, from the start of QEMU to the first line of the kernel. */
async function measureDirect(rounds) {
  const { resolveImage } = await import('../dist/src/image/resolve-image.js')
  const { directBoot } = await resolveImage('debian-netboot')
  const { kernel, initrd } = directBoot
  const append = 'console=ttyS0 earlyprintk=ttyS0'
  const start = (options) =>
    withVM(
      { ...silent, ...limit, ssh: false, ...options, ready: /Linux version/ },
      (vm) => vm.timeline.at(-1).atMs,
    )
  const ways = {
    "Debian's installer, PXELINUX by TFTP": { netboot: netboot.debianInstaller({ append }) },
    "Debian's installer, PXELINUX by HTTP": { netboot: netboot.debianInstaller({ append, via: 'http' }) },
    "Debian's installer, iPXE by TFTP": { netboot: netboot.kernel({ kernel, initrd, append }) },
    "Debian's installer, iPXE by HTTP": { netboot: netboot.kernel({ kernel, initrd, append, via: 'http' }) },
    "Debian's installer, handed over (-kernel, -initrd)": { kernel, initrd, append },
  }
  const times = Object.fromEntries(Object.keys(ways).map((name) => [name, []]))
  for (let round = 0; round < rounds; round++) {
    const measurements = Object.entries(ways).map(
      ([name, options]) =>
        async () =>
          times[name].push(await start(options)),
    )
    await alternate(round, measurements)
  }
  const slowest = times["Debian's installer, PXELINUX by TFTP"]
  const rows = [['from the start of QEMU to the first line of the kernel', 'ms', 'ratio to the first']]
  const result = {}
  for (const [name, values] of Object.entries(times)) {
    result[name] = { ms: median(values), ratio: pairedRatio(values, slowest) }
    rows.push([name, ms(median(values)), pairedRatio(values, slowest).toFixed(2)])
  }
  console.log(`${table(rows)}\n`)
  return result
}
