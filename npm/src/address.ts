import { TidewireError } from "./types.ts";

/**
 * Where a server's endpoints begin: `http(s)://host[:port][/path]` without a slash at the end, so
 * that a server below a path of its site is reached there. A {@link TidewireError} of this code
 * says what is wrong with an address that is none.
 */
export function baseOf(address: string | URL, what: string, code: string): string {
  const refuse = (why: string): never => {
    throw new TidewireError(code, `${what} ${why}`, false);
  };
  let url: URL;
  try {
    url = new URL(address);
  } catch {
    return refuse("must be an address such as https://chat.example.com");
  }
  const protocol = url.protocol.replace(/^ws/, "http");
  if (protocol !== "http:" && protocol !== "https:") refuse(`must begin with http: or https:, not ${url.protocol}`);
  if (url.username !== "" || url.password !== "") refuse("must not hold a name or a password");
  if (url.search !== "" || url.hash !== "") refuse("must end with its path, without ? and #");
  return `${protocol}//${url.host}${url.pathname.replace(/\/+$/, "")}`;
}
