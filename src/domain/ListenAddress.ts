/** Where a door listens, as an operator writes it: `0.0.0.0:7022`, `[::1]:0`. Port 0 is any free one. */

export interface ListenAddress {
  readonly host: string
  readonly port: number
}

export const parse = (text: string): ListenAddress | undefined => {
  const [, bracketed, plain, digits] = /^(?:\[([0-9a-fA-F:.]+)\]|([A-Za-z0-9._-]+)):([0-9]{1,5})$/.exec(text) ?? []
  const host = bracketed ?? plain
  const port = Number(digits)
  return host === undefined || port > 65_535 ? undefined : { host, port }
}

export const print = ({ host, port }: ListenAddress): string => `${host.includes(":") ? `[${host}]` : host}:${port}`
