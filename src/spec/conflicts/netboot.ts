import { isRecord } from '../../common/is-record.js'
import { hasBootIndex } from '../boot-index.js'
import type { NetbootOptions } from '../netboot.js'
import type { NetworkOptions } from '../options/network.js'
import type { VMOptions } from '../options.js'
import { resolveFirmware } from '../resolve/resolve-firmware.js'
import type { Report } from './report.js'

/** Reports network boot options that conflict. */
export function findNetbootConflicts(options: VMOptions, report: Report): void {
  const { netboot } = options
  const network = isRecord(options.network) ? (options.network as NetworkOptions) : undefined
  if (netboot === undefined || !isRecord(netboot)) return
  const { bootfile } = netboot
  for (const name of ['tftp', 'bootfile'] as const) {
    const given = network?.[name]
    if (given === undefined) continue
    const own = name === 'tftp' ? 'netboot.root' : 'netboot.bootfile'
    report(`network.${name}`, `"${given}" together with \`netboot\``, `\`${own}\` instead`)
  }
  if (netboot.root === undefined && netboot.trees === undefined && netboot.files === undefined) {
    report('netboot', 'nothing to serve', '`root`, `trees` or `files`')
  }
  for (const name of ['bootfile', 'httpBoot'] as const) {
    const path = netboot[name]
    if (typeof path === 'string' && path.split('/').includes('..'))
      report(`netboot.${name}`, `"${path}", which is outside of the folder`, 'a path below the folder')
  }
  checkHttpBoot(options, netboot, report)
  if (typeof bootfile === 'string' && /^https?:\/\/10\.0\.2\./.test(bootfile) && !netboot.http) {
    report('netboot.bootfile', `"${bootfile}"`, '`netboot.http` to be set too')
  }
}

/**
 * `httpBoot` is an entry of the firmware's boot order, and every boot order given to QEMU takes
 * precedence over that.
 */
function checkHttpBoot(options: VMOptions, netboot: NetbootOptions, report: Report): void {
  const { httpBoot, http, once } = netboot
  if (typeof httpBoot !== 'string') return
  const got = `"${httpBoot}"`
  if (resolveFirmware(options, false).type !== 'uefi')
    report('netboot.httpBoot', `${got} without UEFI firmware`, "`firmware: 'uefi'` to be set too")
  if (options.kernel !== undefined)
    report(
      'netboot.httpBoot',
      'both',
      'only one of `netboot.httpBoot` and `kernel` (QEMU loads a kernel directly)',
    )
  if (options.boot !== undefined || options.bootOnce !== undefined)
    report(
      'netboot.httpBoot',
      'both',
      'only one of `netboot.httpBoot` and `boot` or `bootOnce` (`httpBoot` is booted first)',
    )
  if (http === false && !/^http:/.test(httpBoot))
    report('netboot.httpBoot', `${got} together with \`http: false\``, '`http: true`, or a URL')
  if (!once && hasBootIndex(options))
    report(
      'netboot.httpBoot',
      `${got} together with a \`bootIndex\``,
      '`once: true` to be set too, or no `bootIndex`',
    )
}
