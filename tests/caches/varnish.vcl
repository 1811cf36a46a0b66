# tests/caches/varnish.vcl: one site, in front of tests/caches/nginx-folder.conf
vcl 4.1;

backend default {
    .host = "127.0.0.1";
    .port = "8080";
}

acl publishers {
    "127.0.0.1";
    "::1";
}

sub vcl_recv {
    # A publisher and a reader needn't name the host alike, and no document depends on a cookie.
    set req.http.Host = "cdn.example.org";
    unset req.http.Cookie;
    # A query makes no other document, and no purge would reach a copy of its own.
    set req.url = regsub(req.url, "\?.*$", "");
    if (req.method == "PURGE" || req.method == "BAN") {
        if (client.ip !~ publishers) {
            return (synth(403));
        }
        if (req.method == "BAN") {
            ban("obj.status != 0"); # Everything.
            return (synth(200));
        }
        return (purge);
    }
}

sub vcl_deliver {
    if (obj.hits > 0) {
        set resp.http.X-Cache = "HIT";
    } else {
        set resp.http.X-Cache = "MISS";
    }
}
