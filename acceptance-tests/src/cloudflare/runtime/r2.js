// R2, for which workerd has no engine: the protocol of its `r2Bucket` binding, over one Durable Object for each bucket.
// A read is a GET whose question is the header `cf-r2-request`; everything else is a PUT whose body begins with the
// question, as long as `cf-r2-metadata-size` says. Objects pass through memory as a whole.
import { DurableObject, WorkerEntrypoint } from "cloudflare:workers";

const CHUNK = 1 << 20;
const LARGEST_METADATA = 2048;
const LONGEST_KEY = 1024;
const LARGEST_PAGE = 1000;
const SMALLEST_PART = 5 << 20;
// Names in requests, of the algorithms, and of their places in answers.
const CHECKSUMS = [["md5", "MD5"], ["sha1", "SHA-1"], ["sha256", "SHA-256"], ["sha384", "SHA-384"], ["sha512", "SHA-512"]];

class Refusal extends Error {
  constructor(status, code, message, object) {
    super(message);
    Object.assign(this, { status, code, object });
  }
  answer() {
    const error = JSON.stringify({ version: 1, v4code: this.code, message: this.message });
    const { body, headers } = this.object ? encode(this.object) : { body: null };
    return new Response(body, { status: this.status, headers: { ...headers, "cf-r2-error": error } });
  }
}

const noKey = () => new Refusal(404, 10007, "The specified key does not exist.");
const noUpload = () => new Refusal(400, 10024, "The specified multipart upload does not exist.");
const noPart = () => new Refusal(400, 10025, "One or more of the specified parts could not be found.");
const badRange = () => new Refusal(416, 10039, "The requested range is not satisfiable");

export class R2 extends WorkerEntrypoint {
  fetch(request) {
    return this.env.BUCKET.getByName(this.ctx.props.bucket).fetch(request);
  }
}

export class R2Bucket extends DurableObject {
  constructor(ctx, env) {
    super(ctx, env);
    this.sql = ctx.storage.sql;
    this.sql.exec(`
      CREATE TABLE IF NOT EXISTS objects (key TEXT PRIMARY KEY, blob TEXT NOT NULL, version TEXT NOT NULL,
        size INTEGER NOT NULL, etag TEXT NOT NULL, uploaded INTEGER NOT NULL, checksums TEXT NOT NULL,
        http TEXT NOT NULL, custom TEXT NOT NULL, class TEXT NOT NULL);
      CREATE TABLE IF NOT EXISTS chunks (blob TEXT, start INTEGER, bytes BLOB NOT NULL, PRIMARY KEY (blob, start));
      CREATE TABLE IF NOT EXISTS uploads (id TEXT PRIMARY KEY, key TEXT NOT NULL, http TEXT NOT NULL,
        custom TEXT NOT NULL, class TEXT NOT NULL);
      CREATE TABLE IF NOT EXISTS parts (upload TEXT, number INTEGER, blob TEXT NOT NULL, size INTEGER NOT NULL,
        etag TEXT NOT NULL, md5 BLOB NOT NULL, PRIMARY KEY (upload, number));`);
  }

  async fetch(request) {
    try {
      const header = request.headers.get("cf-r2-request");
      if (header !== null) return this.read(JSON.parse(header));
      const bytes = new Uint8Array(await request.arrayBuffer());
      const length = Number(request.headers.get("cf-r2-metadata-size"));
      return await this.write(JSON.parse(new TextDecoder().decode(bytes.subarray(0, length))), bytes.subarray(length));
    } catch (error) {
      if (error instanceof Refusal) return error.answer();
      console.error(`R2: ${error.stack}`);
      return new Refusal(500, 10001, "We encountered an internal error. Please try again.").answer();
    }
  }

  read(ask) {
    switch (ask.method) {
      case "head": return respond(shown(this.object(ask.object)));
      case "get": return this.get(ask);
      case "list": return respond(this.list(ask));
      default: throw new Refusal(400, 10029, `Unknown method ${ask.method}.`);
    }
  }

  async write(ask, value) {
    switch (ask.method) {
      case "put": return respond(await this.put(ask, value));
      case "delete": return this.remove(ask.objects ?? [ask.object]);
      case "createMultipartUpload": return respond(this.begin(ask));
      case "uploadPart": return respond(await this.part(ask, value));
      case "completeMultipartUpload": return respond(await this.complete(ask));
      case "abortMultipartUpload": return this.abort(ask);
      default: throw new Refusal(400, 10029, `Unknown method ${ask.method}.`);
    }
  }

  find(key) {
    return this.sql.exec("SELECT * FROM objects WHERE key = ?", checkKey(key)).toArray()[0];
  }

  object(key) {
    const row = this.find(key);
    if (!row) throw noKey();
    return row;
  }

  get(ask) {
    const row = this.object(ask.object);
    if (!holds(ask.onlyIf, row)) throw preconditionFailed(row);
    const { offset, length } = range(ask, row.size);
    const bytes = new Uint8Array(length);
    const chunks = this.sql.exec(
      "SELECT start, bytes FROM chunks WHERE blob = ? AND start < ? AND start + length(bytes) > ? ORDER BY start",
      row.blob, offset + length, offset,
    );
    for (const { start, bytes: chunk } of chunks) {
      const from = Math.max(offset - start, 0);
      const piece = new Uint8Array(chunk).subarray(from, offset + length - start);
      bytes.set(piece, start + from - offset);
    }
    return respond({ ...shown(row), range: { offset, length } }, bytes);
  }

  async put(ask, value) {
    checkKey(ask.object);
    const custom = ask.customFields ?? [];
    if (custom.reduce((size, { k, v }) => size + k.length + v.length, 0) > LARGEST_METADATA) {
      throw new Refusal(400, 10012, "Your metadata headers exceed the maximum allowed metadata size.");
    }
    const checksums = {};
    for (const [place, [field, algorithm]] of CHECKSUMS.entries()) {
      if (field !== "md5" && ask[field] === undefined) continue;
      const actual = hex(await crypto.subtle.digest(algorithm, value));
      const given = field === "md5" && ask.md5 !== undefined ? hex(Uint8Array.fromBase64(ask.md5)) : ask[field];
      if (given !== undefined && given.toLowerCase() !== actual) {
        const text = `The ${algorithm} checksum you specified did not match what we received.\n` +
          `You provided a ${algorithm} checksum with value: ${given}\nActual ${algorithm} was: ${actual}`;
        throw new Refusal(400, 10037, text);
      }
      checksums[place] = actual;
    }
    return this.ctx.storage.transactionSync(() => {
      const before = this.find(ask.object);
      if (!holds(ask.onlyIf, before)) throw preconditionFailed();
      const blob = this.store(value);
      return this.replace(ask.object, {
        blob, size: value.length, etag: checksums[0], checksums, custom,
        http: ask.httpFields ?? {}, storageClass: ask.storageClass,
      });
    });
  }

  // Keeps bytes under a new name.
  store(value) {
    const blob = crypto.randomUUID();
    for (let start = 0; start < value.length; start += CHUNK) {
      this.sql.exec("INSERT INTO chunks VALUES (?, ?, ?)", blob, start, value.slice(start, start + CHUNK).buffer);
    }
    return blob;
  }

  replace(key, { blob, size, etag, checksums, http, custom, storageClass }) {
    this.drop(key);
    const version = crypto.randomUUID().replaceAll("-", "");
    this.sql.exec(
      "INSERT INTO objects VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?)",
      key, blob, version, size, etag, Date.now(), JSON.stringify(checksums), JSON.stringify(http), JSON.stringify(custom),
      storageClass || "Standard",
    );
    return shown(this.object(key));
  }

  drop(key) {
    for (const { blob } of this.sql.exec("DELETE FROM objects WHERE key = ? RETURNING blob", key).toArray()) {
      this.sql.exec("DELETE FROM chunks WHERE blob = ?", blob);
    }
  }

  remove(keys) {
    this.ctx.storage.transactionSync(() => keys.forEach((key) => this.drop(checkKey(key))));
    return new Response();
  }

  list({ prefix = "", limit = LARGEST_PAGE, cursor, delimiter = "", startAfter = "", include = [] }) {
    if (limit < 1 || limit > LARGEST_PAGE) {
      throw new Refusal(400, 10022, "MaxKeys params must be positive integer <= 1000.");
    }
    const before = cursor ? decodeCursor(cursor) : "";
    const objects = [], delimitedPrefixes = [];
    let last = before > startAfter ? before : startAfter;
    let truncated = false;
    const rows = this.sql.exec(
      "SELECT * FROM objects WHERE key > ? AND substr(key, 1, length(?)) = ? ORDER BY key", last, prefix, prefix,
    );
    for (const row of rows) {
      const at = delimiter === "" ? -1 : row.key.indexOf(delimiter, prefix.length);
      const group = at < 0 ? undefined : row.key.slice(0, at + delimiter.length);
      // Keys of the group that came last are passed over, so that the next page does not begin with it again.
      if (group === undefined || group !== delimitedPrefixes.at(-1)) {
        truncated = objects.length + delimitedPrefixes.length === limit;
        if (truncated) break;
        if (group === undefined) objects.push(shown(row, include));
        else delimitedPrefixes.push(group);
      }
      last = row.key;
    }
    return { objects, delimitedPrefixes, truncated, ...(truncated && { cursor: encodeCursor(last) }) };
  }

  begin(ask) {
    const id = hex(crypto.getRandomValues(new Uint8Array(32)));
    const [http, custom] = [JSON.stringify(ask.httpFields ?? {}), JSON.stringify(ask.customFields ?? [])];
    const storageClass = ask.storageClass || "Standard";
    this.sql.exec("INSERT INTO uploads VALUES (?, ?, ?, ?, ?)", id, checkKey(ask.object), http, custom, storageClass);
    return { uploadId: id };
  }

  upload({ uploadId, object }) {
    const row = this.sql.exec("SELECT * FROM uploads WHERE id = ? AND key = ?", uploadId, checkKey(object)).toArray()[0];
    if (!row) throw noUpload();
    return row;
  }

  async part(ask, value) {
    const md5 = await crypto.subtle.digest("MD5", value);
    const etag = hex(crypto.getRandomValues(new Uint8Array(16)));
    this.ctx.storage.transactionSync(() => {
      const { id } = this.upload(ask);
      for (const { blob } of this.sql.exec("SELECT blob FROM parts WHERE upload = ? AND number = ?", id, ask.partNumber).toArray()) {
        this.sql.exec("DELETE FROM chunks WHERE blob = ?", blob);
      }
      const blob = this.store(value);
      this.sql.exec("INSERT OR REPLACE INTO parts VALUES (?, ?, ?, ?, ?, ?)", id, ask.partNumber, blob, value.length, etag, md5);
    });
    return { etag };
  }

  async complete(ask) {
    const { id, http, custom, class: storageClass } = this.upload(ask);
    const uploaded = this.sql.exec("SELECT * FROM parts WHERE upload = ?", id).toArray();
    const wanted = [...ask.parts].sort((a, b) => a.part - b.part);
    const parts = wanted.map(({ part, etag }) => uploaded.find((row) => row.number === part && row.etag === etag));
    if (parts.length === 0 || parts.includes(undefined) || new Set(parts).size < parts.length) throw noPart();
    // All parts but the last have one size, which has a lower limit.
    const sizes = parts.slice(0, -1).map(({ size }) => size);
    if (sizes.some((size) => size < SMALLEST_PART)) {
      throw new Refusal(400, 10011, "Your proposed upload is smaller than the minimum allowed object size.");
    }
    if (sizes.some((size) => size !== sizes[0]) || sizes.length > 0 && parts.at(-1).size > sizes[0]) {
      throw new Refusal(400, 10048, "There was a problem with the multipart upload.");
    }
    const digests = new Uint8Array(16 * parts.length);
    parts.forEach(({ md5 }, index) => digests.set(new Uint8Array(md5), 16 * index));
    const etag = `${hex(await crypto.subtle.digest("MD5", digests))}-${parts.length}`;
    return this.ctx.storage.transactionSync(() => {
      this.upload(ask);
      const whole = crypto.randomUUID();
      let size = 0;
      for (const part of parts) {
        this.sql.exec("UPDATE chunks SET blob = ?, start = start + ? WHERE blob = ?", whole, size, part.blob);
        size += part.size;
      }
      this.end(id);
      return this.replace(ask.object, {
        blob: whole, size, etag, checksums: {}, http: JSON.parse(http), custom: JSON.parse(custom), storageClass,
      });
    });
  }

  abort(ask) {
    this.ctx.storage.transactionSync(() => this.end(this.upload(ask).id));
    return new Response();
  }

  // Forgets an upload and the parts that have not become an object.
  end(id) {
    this.sql.exec("DELETE FROM chunks WHERE blob IN (SELECT blob FROM parts WHERE upload = ?)", id);
    this.sql.exec("DELETE FROM parts WHERE upload = ?", id);
    this.sql.exec("DELETE FROM uploads WHERE id = ?", id);
  }
}

// An object as the binding wants it; a listing has only the metadata that it was asked for.
function shown(row, include = [0, 1]) {
  return {
    name: row.key, version: row.version, size: row.size, etag: row.etag, uploaded: row.uploaded,
    storageClass: row.class, checksums: JSON.parse(row.checksums),
    ...(include.includes(0) && { httpFields: JSON.parse(row.http) }),
    ...(include.includes(1) && { customFields: JSON.parse(row.custom) }),
  };
}

function respond(metadata, value = new Uint8Array()) {
  const { body, headers } = encode(metadata, value);
  return new Response(body, { headers });
}

function encode(metadata, value = new Uint8Array()) {
  const text = new TextEncoder().encode(JSON.stringify(metadata));
  const body = new Uint8Array(text.length + value.length);
  body.set(text);
  body.set(value, text.length);
  return { body, headers: { "cf-r2-metadata-size": String(text.length) } };
}

function preconditionFailed(row) {
  const text = "At least one of the pre-conditions you specified did not hold.";
  return new Refusal(412, 10031, text, row && shown(row));
}

// Whether a condition allows what is asked for, in the order of precedence of RFC 9110, section 13.2.2.
function holds(condition, row) {
  if (!condition) return true;
  const { etagMatches, etagDoesNotMatch, uploadedBefore, uploadedAfter, secondsGranularity } = condition;
  if (!row) return etagMatches === undefined && uploadedAfter === undefined;
  const same = ({ type, value }) => type === "wildcard" || value === row.etag;
  const time = (ms) => (secondsGranularity ? Math.floor(Number(ms) / 1000) : Number(ms));
  if (etagMatches !== undefined) {
    if (!etagMatches.some((etag) => etag.type !== "weak" && same(etag))) return false;
  } else if (uploadedBefore !== undefined && time(row.uploaded) >= time(uploadedBefore)) {
    return false;
  }
  if (etagDoesNotMatch !== undefined) return !etagDoesNotMatch.some(same);
  return uploadedAfter === undefined || time(row.uploaded) > time(uploadedAfter);
}

function range(ask, size) {
  let { offset, length, suffix } = ask.range ?? {};
  const header = /^\s*bytes\s*=\s*(\d*)\s*-\s*(\d*)\s*$/i.exec(ask.rangeHeader ?? "");
  if (header && (header[1] || header[2])) {
    if (header[1] === "") suffix = header[2];
    else {
      offset = header[1];
      if (header[2] !== "") length = Number(header[2]) - Number(header[1]) + 1;
    }
  }
  if (suffix !== undefined) {
    if (Number(suffix) <= 0) throw badRange();
    offset = Math.max(size - Number(suffix), 0);
    length = undefined;
  } else if (offset === undefined && length === undefined) {
    return { offset: 0, length: size };
  }
  const start = Number(offset ?? 0);
  const wanted = length === undefined ? size - start : Number(length);
  if (start > size || wanted <= 0) throw badRange();
  return { offset: start, length: Math.min(wanted, size - start) };
}

function checkKey(key) {
  if (typeof key !== "string" || new TextEncoder().encode(key).length > LONGEST_KEY) {
    throw new Refusal(400, 10020, "The specified object name is not valid.");
  }
  return key;
}

const hex = (bytes) => new Uint8Array(bytes).toHex();
const encodeCursor = (key) => new TextEncoder().encode(key).toBase64();
function decodeCursor(cursor) {
  try {
    return new TextDecoder().decode(Uint8Array.fromBase64(cursor));
  } catch {
    throw new Refusal(400, 10029, "The cursor is not valid.");
  }
}
