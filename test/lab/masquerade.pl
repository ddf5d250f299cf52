# Makes the network namespace it runs in a NAT router: what leaves is masqueraded, what comes unasked is dropped without a
# word. It says so to nf_tables itself, so that no nft need be installed. A machine without nf_tables gets the reason.
use strict;
use warnings;
use Socket;

use constant { AF_NETLINK => 16, NETLINK_NETFILTER => 12, NFPROTO_IPV4 => 2, NFTABLES => 10 };
use constant { REQUEST => 0x1, ACK => 0x4, CREATE => 0x400, NESTED => 0x8000 };
use constant { NEWTABLE => 0, NEWCHAIN => 3, NEWRULE => 6, BATCH_BEGIN => 16, BATCH_END => 17 };
use constant { HOOK_INPUT => 1, HOOK_POSTROUTING => 4, PRIORITY_SRCNAT => 100, DROP => 0, ACCEPT => 1 };

my $sequence = 0;

sub attribute {
  my ($type, $value) = @_;
  return pack('SSa*x![4]', 4 + length $value, $type, $value);
}
sub text { attribute($_[0], "$_[1]\0") }
sub number { attribute($_[0], pack 'N', $_[1]) }
sub nested { my $type = shift; attribute($type | NESTED, join '', @_) }

sub message {
  my ($type, $flags, $family, $resource, @attributes) = @_;
  my $body = pack('CCn', $family, 0, $resource) . join '', @attributes;
  return pack('LSSLLa*', 16 + length $body, $type, REQUEST | $flags, ++$sequence, 0, $body);
}
sub command { message((NFTABLES << 8) | shift, CREATE | ACK, NFPROTO_IPV4, 0, @_) }
sub chain {
  my ($name, $type, $hook, $priority, $policy) = @_;
  return command(NEWCHAIN, text(1, 'lab'), text(3, $name),
    nested(4, number(1, $hook), number(2, $priority)), number(5, $policy), text(7, $type));
}

my $batch = join '',
  message(BATCH_BEGIN, 0, 0, NFTABLES),
  command(NEWTABLE, text(1, 'lab')),
  chain('leaving', 'nat', HOOK_POSTROUTING, PRIORITY_SRCNAT, ACCEPT),
  chain('unasked', 'filter', HOOK_INPUT, 0, DROP),
  command(NEWRULE, text(1, 'lab'), text(2, 'leaving'), nested(4, nested(1, text(1, 'masq'), nested(2)))),
  message(BATCH_END, 0, 0, NFTABLES);

socket(my $netlink, AF_NETLINK, SOCK_RAW, NETLINK_NETFILTER) or die "no netfilter: $!\n";
setsockopt($netlink, SOL_SOCKET, SO_RCVTIMEO, pack 'l!l!', 2, 0);
bind($netlink, pack 'SSLL', AF_NETLINK, 0, 0, 0) or die "bind: $!\n";
send($netlink, $batch, 0) or die "no nf_tables: $!\n";
for (my $acknowledged = 0; $acknowledged < 4;) {
  defined recv($netlink, my $answer, 65536, 0) or die "no answer: $!\n";
  while (length $answer >= 20) {
    my ($length, $type, undef, $number, undef, $error) = unpack 'LSSLLl', $answer;
    if ($type == 2) {
      $! = -$error;
      die "no nf_tables: message $number: $!\n" if $error != 0;
      $acknowledged++;
    }
    $answer = substr $answer, ($length + 3) & ~3;
  }
}
