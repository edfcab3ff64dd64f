import { TidewireError } from "./types.ts";

/**
 * The base of a server's endpoints: `http(s)://host[:port][/path]` without a slash at the end. The
 * path is kept, so a server may be below a path of a site. Throws a {@link TidewireError} with
 * `code`, which names `what` and says what is wrong with the address.
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
