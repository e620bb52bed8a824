// Measures an image that withvm did not make: a Debian cloud image with cloud-init, cold, warm and with a standby.
import { execFileSync } from 'node:child_process'
import { existsSync, mkdirSync, renameSync, rmSync } from 'node:fs'
import { homedir } from 'node:os'
import { join } from 'node:path'
import { CHANNELS, measureStandby, startOurs } from './measure-warm.mjs'
import { median, ms, table } from './statistics.mjs'

const SUITE = 'bookworm'
const PACKAGES = [
  ...['linux-image-cloud-amd64', 'systemd-sysv', 'udev', 'dbus', 'openssh-server', 'cloud-init'],
  ...['ifupdown', 'isc-dhcp-client', 'qemu-guest-agent'],
]
const FOLDER = join(process.env.XDG_CACHE_HOME ?? join(homedir(), '.cache'), 'withvm-bench', SUITE)
/** Duration of a test during which the next standby becomes ready, milliseconds. */
const TEST_MS = 8000
const COLD_ROUNDS = 2

export async function measureOwnImage({ rounds }) {
  const own = { ...makeImage(), log: () => {} }
  const cold = []
  for (let round = 0; round < COLD_ROUNDS; round++)
    cold.push(await startOurs(CHANNELS.ssh, { ...own, start: 'cold' }))
  const result = { coldMs: median(cold) }
  const rows = [['first result of a cloud image', 'milliseconds', 'speedup over cold']]
  rows.push(['withVM() cold, over ssh', ms(result.coldMs), ''])
  for (const [channel, way] of Object.entries(CHANNELS)) {
    await startOurs(way, own) // makes the template
    const times = []
    for (let round = 0; round < rounds; round++) times.push(await startOurs(way, own))
    result[channel] = { warmMs: median(times), faster: result.coldMs / median(times) }
    rows.push([`withVM() warm, over ${channel}`, ms(median(times)), `${result[channel].faster.toFixed(1)} x`])
  }
  console.log(`${table(rows)}\n`)
  return { ...result, standby: await measureStandby({ rounds }, own, TEST_MS) }
}

/** Makes the image with mmdebstrap, once. Returns the options that boot it. */
function makeImage() {
  if (!existsSync(FOLDER)) {
    const building = `${FOLDER}.${process.pid}`
    mkdirSync(building, { recursive: true })
    const raw = join(building, 'disk.raw')
    const tool = (program, args) => execFileSync(program, args, { stdio: ['ignore', 'pipe', 'inherit'] })
    tool('mmdebstrap', [
      ...['--variant=minbase', '--format=ext2', `--include=${PACKAGES.join()}`],
      '--customize-hook=echo "/dev/vda / ext4 defaults 0 0" >"$1/etc/fstab"',
      ...[SUITE, raw],
    ])
    for (const [link, file] of [
      ['vmlinuz', 'vmlinuz'],
      ['initrd.img', 'initrd'],
    ]) {
      const target = /link dest: "(.*)"/.exec(String(tool('/sbin/debugfs', ['-R', `stat ${link}`, raw])))[1]
      tool('/sbin/debugfs', ['-R', `dump ${target} ${join(building, file)}`, raw])
    }
    tool('truncate', ['-s', '+300M', raw])
    tool('/sbin/resize2fs', [raw])
    tool('/sbin/tune2fs', ['-O', 'has_journal,extents', raw])
    tool('qemu-img', ['convert', '-f', 'raw', '-O', 'qcow2', raw, join(building, 'disk.qcow2')])
    rmSync(raw)
    renameSync(building, FOLDER)
  }
  return {
    image: join(FOLDER, 'disk.qcow2'),
    kernel: join(FOLDER, 'vmlinuz'),
    initrd: join(FOLDER, 'initrd'),
    append: 'root=/dev/vda rw console=ttyS0 net.ifnames=0',
  }
}
